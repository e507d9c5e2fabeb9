import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { uniqueName, untilOldEnough } from "./harness/redis.ts";
import { openServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

// So long after it has first asked, a server knows itself that its Redis is old enough.
const times = { pendingMs: 500, commitDeadlineMs: 490 };

async function untilFilled({ things }: Server, id: string): Promise<void> {
  await until(async () => expect((await things.lookup(id)).from).toBe("shared"));
}

/** What a failover does to the replica that becomes the primary; its data stays. */
async function promote(client: Redis): Promise<void> {
  await client.replicaof("127.0.0.1", await freePort());
  await client.replicaof("NO", "ONE");
}

describe("C9: a Redis that has just started", () => {
  it("is not filled until it knows of all writes that are pending, and serves nothing from before", async () => {
    const directory = await mkdtemp(join(tmpdir(), "lockstep-cache-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const port = await freePort();
    const start = () => startRedis({ role: "state", port, directory, persistent: true });
    const first = await start();
    const source = new Source({ a: "old", b: "b" });
    const name = uniqueName();
    const server = openServer(source, { client: connect(port), name, ...times });

    // Young: the source answers each time.
    expect(await server.things.lookup("a")).toEqual({ value: "old", from: "source" });
    expect(await server.things.update("b", source.write("b", "b2"))).toBe("b2");
    expect(server.things.counts()).toMatchObject({ uncached: 1, updates: 1 });
    expect(await server.client.keys(`${name}:*`)).toEqual([]);
    await untilFilled(server, "a");

    await first.stop();
    const second = await start();
    onTestFinished(() => second.stop());
    await until(() => expect(server.client.status).toBe("ready"));
    expect(await server.client.exists(server.keysOf("a").entry)).toBe(1);
    source.rows.set("a", "changed while it was down");
    const { value, from } = await server.things.lookup("a");
    expect({ value, from }).toEqual({ value: "changed while it was down", from: "source" });
    await untilFilled(server, "a");
    expect(await server.things.get("a")).toBe("changed while it was down");
  });
});

describe("C9: a replica that has become the primary", () => {
  it("serves nothing from before, and is filled only by who has known it for long enough", async () => {
    const redis = await startOwnRedis();
    const source = new Source({ a: "old", b: "b" });
    const name = uniqueName();
    const witness = openServer(source, { client: connect(redis.port), name, ...times });
    await untilOldEnough(witness.client, times.pendingMs);
    await untilFilled(witness, "a");

    await promote(witness.client);
    const promotedAt = performance.now();
    source.rows.set("a", "new");
    // Until then what a script told before the promotion may be believed.
    await until(async () => expect(await witness.things.lookup("a")).toEqual({ value: "new", from: "source" }));
    await untilFilled(witness, "a");
    expect(performance.now() - promotedAt).toBeGreaterThan(times.pendingMs);

    const newcomer = openServer(source, { client: connect(redis.port), name, ...times });
    expect(await newcomer.things.lookup("a")).toEqual({ value: "new", from: "shared" });
    expect(await newcomer.things.lookup("b")).toEqual({ value: "b", from: "source" });
    expect(newcomer.things.counts()).toMatchObject({ hits: 1, uncached: 1, fills: 0 });
    expect((await witness.things.lookup("b")).from).toBe("source");
    await untilFilled(newcomer, "b");
    await untilFilled(newcomer, "b");
  });

  it("stores nothing of a load or a write that began before", async () => {
    const redis = await startOwnRedis();
    const source = new Source({ a: "old" });
    const server = openServer(source, { client: connect(redis.port), ...times });
    await untilFilled(server, "other");
    const loads = source.hold();
    const loading = server.things.get("a");
    await loads.arrivals(1);
    const writes = new Barrier();
    const updating = server.things.update("b", async () => {
      await writes.pass("b");
      return "written";
    });
    await writes.arrivals(1);

    await promote(server.client);
    loads.release();
    writes.release();
    expect(await loading).toBe("old");
    expect(await updating).toBe("written");
    await until(() => expect(server.things.counts().refusedFills).toBe(1));
    expect(await server.client.exists(server.keysOf("b").entry, server.keysOf("b").mark)).toBe(0);
  });
});

describe("a primary that has become a replica", () => {
  it("is not read from: writes go to another by now", async () => {
    const redis = await startOwnRedis();
    const source = new Source({ a: "old" });
    const server = openServer(source, { client: connect(redis.port), ...times });
    await untilFilled(server, "a");
    await server.client.replicaof("127.0.0.1", await freePort());
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
    expect(server.things.counts().unavailable).toBe(1);
    await expect(server.things.update("a", source.write("a", "never"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(source.rows.get("a")).toBe("new");
  });
});

describe("C8: a Redis that evicts keys without expiry", () => {
  it("is refused: reads are answered by the source, and nothing is written", async () => {
    const redis = await startOwnRedis();
    const client = connect(redis.port);
    await client.config("SET", "maxmemory-policy", "allkeys-lru");
    const source = new Source({ a: 1 });
    const server = openServer(source, { client });
    const unsafe = { code: "UNSAFE_REDIS", message: expect.stringContaining("allkeys-lru") as string };
    await expect(server.cache.ready()).rejects.toMatchObject(unsafe);
    expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
    const write = vi.fn(source.write("a", 2));
    await expect(server.things.update("a", write)).rejects.toMatchObject(unsafe);
    expect(write).not.toHaveBeenCalled();
    expect(server.things.counts()).toMatchObject({ unavailable: 1, refusedUpdates: 1, hits: 0, fills: 0 });
    expect(server.events).toMatchObject([{ type: "unsafe-redis", error: unsafe }]);
    await server.things.invalidate("a");

    await client.config("SET", "maxmemory-policy", "volatile-lru");
    await expect(server.cache.ready()).resolves.toBeUndefined();
    expect(await server.things.update("a", write)).toBe(2);
  });

  it("is told at once by who asks, and so is one that can be used", async () => {
    const { cache } = openServer(new Source());
    await expect(cache.ready()).resolves.toBeUndefined();
  });
});
