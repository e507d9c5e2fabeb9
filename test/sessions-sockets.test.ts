import { once } from "node:events";
import { type Socket, io } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import type { Client } from "./harness/client.ts";
import { buildProgram } from "./harness/mutant.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { signedIn } from "./harness/session/requests.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

let redis: SessionRedis;
let fleet: SessionFleet;
beforeAll(async () => {
  redis = await startSessionRedis();
  const program = await buildProgram("test/harness/session/socket-server.ts", "session-store");
  const server = { stack: "middleware", userField: "user" } as const;
  fleet = await SessionFleet.start({ program, redis: redis.port, servers: [server, server] });
});
afterAll(async () => {
  await fleet.stop();
  await redis.stop();
});

/** A browser's end of a socket. */
interface OpenSocket {
  /** Whose it is, by what the server said when it opened. */
  readonly user: unknown;
  /** Why the server has closed it. */
  readonly closed: Promise<unknown>;
}

const cookieOf = (client: Client) => [...client.cookies].map(([name, value]) => `${name}=${value}`).join("; ");

async function openWs(url: string, client: Client): Promise<OpenSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, { headers: { cookie: cookieOf(client) } });
  onTestFinished(() => {
    socket.terminate();
  });
  const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve(`${code} ${String(reason)}`)));
  const [user] = (await once(socket, "message")) as [Buffer];
  return { user: String(user), closed };
}

async function openSocketIo(url: string, client: Client): Promise<OpenSocket> {
  const socket: Socket = io(url, { extraHeaders: { cookie: cookieOf(client) }, reconnection: false });
  onTestFinished(() => {
    socket.disconnect();
  });
  const closed = new Promise((resolve) => socket.on("disconnect", resolve));
  const user = await new Promise((resolve, reject) => {
    socket.on("user", resolve);
    socket.on("connect_error", reject);
  });
  return { user, closed };
}

describe.each([
  { name: "ws", open: openWs, ended: "4401 destroyed" },
  { name: "socket.io", open: openSocketIo, ended: "io server disconnect" },
])("sockets by $name over two servers", ({ open, ended }) => {
  test("signing out on one server closes the session's sockets on the other, and no others (S9)", async () => {
    const [ann, bob] = [await signedIn(fleet.url(1), { user: "ann" }), await signedIn(fleet.url(1), { user: "bob" })];
    const [anns, bobs] = [await open(fleet.url(2), ann), await open(fleet.url(2), bob)];
    expect([anns.user, bobs.user]).toEqual(["ann", "bob"]);
    await ann.request("POST", `${fleet.url(1)}/sign-out`);
    expect(await anns.closed).toBe(ended);
    await expect(open(fleet.url(2), ann)).rejects.toThrow();
    expect(await Promise.race([bobs.closed, open(fleet.url(1), bob)])).toMatchObject({ user: "bob" });
  });

  test("signing out everywhere closes all of the user's sockets on all servers (S8, S9)", async () => {
    const clients = [await signedIn(fleet.url(1), { user: "carl" }), await signedIn(fleet.url(2), { user: "carl" })];
    const sockets = await Promise.all(clients.flatMap((client) => fleet.urls.map((url) => open(url, client))));
    await clients[0]?.request("POST", `${fleet.url(1)}/sign-out-everywhere`);
    expect(await Promise.all(sockets.map(({ closed }) => closed))).toEqual(sockets.map(() => ended));
  });

  test("a session that ends while a server's events are cut closes its sockets there too (S9)", async () => {
    const client = await signedIn(fleet.url(1), { user: "dora" });
    const { closed } = await open(fleet.url(2), client);
    await redis.client.client("KILL", "TYPE", "PUBSUB");
    await client.request("POST", `${fleet.url(1)}/sign-out`);
    expect(await closed).toMatch(/^(4401 (gone|destroyed)|io server disconnect)$/);
  });
});
