import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Client, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { refusals } from "./harness/secure-stores.ts";
import { sessionStacks, type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database.stop());

describe.each(sessionStacks)("by TLS, as a user with few rights, on %s", (sessionStack) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({
      topology: "secure",
      sessionStack,
      databaseUrl: database.url,
      ...(sessionStack === "middleware" && { nearCopies: "on" }),
    });
  });
  afterAll(() => stack.stop());

  test("the servers do all that they do, and are refused nothing", async () => {
    const alice = await signedInClient(stack.server(1));
    for (const [index, server] of stack.servers.entries()) {
      const bio = `written on ${index + 1}`;
      const changes = [
        () => alice.request("PATCH", `${server}/api/profile`, { json: { bio } }),
        () => alice.request("POST", `${server}/api/cart`, { json: { item: bio } }),
        () => alice.request("PUT", `${server}/api/preferences/colour`, { json: { value: "red" } }),
      ];
      // One after the other: connect-redis would lose one of two.
      for (const change of changes) expect((await change()).status).toBeLessThan(300);
      for (const other of stack.servers) {
        const { body } = await alice.request("GET", `${other}/api/profile`);
        expect(body).toMatchObject({ bio });
        expect((await alice.request("GET", `${other}/api/cart`)).text).toContain(bio);
        const { id } = body as { id: string };
        await eventually("looks are counted", async () => {
          const { text } = await new Client().request("GET", `${other}/people/${id}`);
          return text.includes("data-views=");
        });
      }
    }
    await eventually("what was counted is saved", async () => {
      const { body } = await alice.request("GET", `${stack.server(1)}/api/cache`);
      const { views } = body as { views: { accepted: number; backlog: { rows: number } | null } };
      return views.accepted > 0 && views.backlog?.rows === 0;
    });
    await alice.request("POST", `${stack.server(2)}/api/sign-out`);
    expect(await alice.isSignedIn(stack.server(3))).toBe(false);
    expect(await refusals([...stack.stores.state, ...stack.stores.cache])).toEqual([]);
  });

  test("that user may not look at all keys, change the configuration, or touch what is not the app's", async () => {
    const { pathname, port, username, password } = new URL(stack.stores.stateUrl.replace("rediss:", "http:"));
    expect(pathname).toBe("/");
    const [state] = stack.stores.state;
    const plain = state?.admin.duplicate({ username, password });
    for (const command of [
      ["KEYS", "*"],
      ["CONFIG", "GET", "*"],
      ["FLUSHALL"],
      ["GET", "another app's"],
      ["MONITOR"],
    ]) {
      const [name = "", ...args] = command;
      await expect(plain?.call(name, ...args)).rejects.toThrow(/NOPERM/);
    }
    plain?.disconnect();
    expect(await answerWithoutTls(Number(port))).not.toContain("PONG");
  });
});

function answerWithoutTls(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(answer));
    socket.write("PING\r\n");
  });
}
