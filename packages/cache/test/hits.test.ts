import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { testClient, untilOldEnough } from "./harness/redis.ts";
import { openServer, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

function spies(client: Redis) {
  return { getex: vi.spyOn(client, "getex"), evalsha: vi.spyOn(client, "evalsha") };
}

/** Reads until a hit was answered without a script. */
async function untilQuick({ things, client }: Server, id: string): Promise<void> {
  const getex = vi.spyOn(client, "getex");
  await until(async () => {
    expect((await things.lookup(id)).from).toBe("shared");
    expect(getex).toHaveBeenCalled();
  });
  getex.mockRestore();
}

describe("a hit without a script", () => {
  it("is one where a script has just told the epoch, and only for the entry of a value", async () => {
    const source = new Source({ a: { name: "Ada" }, none: undefined });
    const server = await openWarmServer(source);
    for (const id of ["a", "none"]) await untilQuick(server, id);
    const { getex, evalsha } = spies(server.client);
    await server.things.getMany(["a", "none"]); // a script tells the epoch
    expect(evalsha).toHaveBeenCalledTimes(1);
    expect(await server.things.lookup("a")).toEqual({ value: { name: "Ada" }, from: "shared" });
    expect(await server.things.lookup("none")).toEqual({ value: undefined, from: "shared" });
    expect(getex).toHaveBeenCalledTimes(2);
    expect(evalsha).toHaveBeenCalledTimes(1);
  });

  it("is none where the entry is missing, loaded, written, corrupt, of another revision or another epoch", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source);
    const { entry } = server.keysOf("a");
    await untilQuick(server, "a");
    const text = (await server.client.get(entry)) ?? "";
    const epoch = text.slice(0, 16);
    for (const other of [`${epoch} fsomebody`, `${epoch} v2:1`, `${epoch} x1:1`, `0000000000000000 v1:1`, ""]) {
      await server.client.set(entry, other, "PX", 40);
      expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
    }
    await untilQuick(server, "a");
    await server.things.update("a", async () => {
      expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
      return source.write("a", 2)();
    });
    expect(await server.things.get("a")).toBe(2);
  });

  it("is not believed once what was told of the epoch is a tenth of a second old", async () => {
    const server = await openWarmServer(new Source({ a: 1 }));
    await untilQuick(server, "a");
    const { getex } = spies(server.client);
    const now = vi.spyOn(performance, "now");
    onTestFinished(() => {
      now.mockRestore();
    });
    const later = performance.now() + 150;
    now.mockImplementation(() => later);
    await server.things.get("a");
    expect(getex).not.toHaveBeenCalled();
  });

  it("is not believed on another connection, where the server may be another", async () => {
    const port = await freePort();
    const start = () => startRedis({ role: "cache", port, directory: "/tmp", persistent: false });
    const first = await start();
    const source = new Source({ a: "old" });
    const server = openServer(source, { client: connect(port), pendingMs: 500, commitDeadlineMs: 490 });
    await untilOldEnough(server.client, 500);
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    await untilQuick(server, "a");
    const text = (await server.client.get(server.keysOf("a").entry)) ?? "";
    await first.stop();
    const second = await start();
    onTestFinished(() => second.stop());
    await until(() => expect(server.client.status).toBe("ready"));
    const other = connect(port);
    await other.set(server.keysOf("a").entry, text); // as a replica that was promoted would have it
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
  });

  it("is not asked of a primary that has become a replica: it answers with READONLY", async () => {
    const redis = await startOwnRedis();
    const source = new Source({ a: "old" });
    const server = openServer(source, { client: connect(redis.port), pendingMs: 500, commitDeadlineMs: 490 });
    await untilOldEnough(server.client, 500);
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    await untilQuick(server, "a");
    await server.client.replicaof("127.0.0.1", await freePort());
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
  });

  it("is not tried for a while where the user may not GETEX: scripts answer as before", async () => {
    const admin = testClient();
    const username = `reader-${process.pid}`;
    await admin.acl("SETUSER", username, "on", "nopass", "~*", "+@all", "-getex");
    onTestFinished(async () => {
      await connectAsAdmin().acl("DELUSER", username);
    });
    const client = connect(admin.options.port ?? 0);
    await client.auth(username, "any");
    const server = await openWarmServer(new Source({ a: 1 }), { client });
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    const { getex } = spies(client);
    for (let read = 0; read < 10; read += 1) expect((await server.things.lookup("a")).from).toBe("shared");
    expect(getex.mock.calls.length).toBeLessThanOrEqual(1);
    expect(server.things.counts()).toMatchObject({ hits: 10, unavailable: 0 });

    function connectAsAdmin(): Redis {
      return connect(admin.options.port ?? 0);
    }
  });

  it("is none where what is left of a life must be known", async () => {
    const server = await openWarmServer(new Source({ a: 1 }), { staleMs: 1_000 });
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    const { getex } = spies(server.client);
    for (let read = 0; read < 3; read += 1) expect((await server.things.lookup("a")).from).toBe("shared");
    expect(getex).not.toHaveBeenCalled();
  });
});
