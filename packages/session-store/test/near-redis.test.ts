import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { freePort } from "../../../infra/local/processes.mjs";
import { connect, connectCluster, startOwnCluster, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { type NearEngine, keysOf, nearHits, nearWith, openGroup, untilCopied } from "./harness/near.ts";

type Two = [NearEngine, NearEngine];

/** What a failover does to the replica that becomes the primary; its data stays. */
async function promote(client: Redis): Promise<void> {
  await client.replicaof("127.0.0.1", await freePort());
  await client.replicaof("NO", "ONE");
}

describe("near copies of sessions on a Redis that may evict something", () => {
  it("are not kept, which is told once (C8)", async () => {
    const { port } = await startOwnRedis();
    const clients = [connect(port), connect(port)] as const;
    await clients[0].config("SET", "maxmemory-policy", "volatile-lru");
    const [one, two] = (await openGroup(clients)) as Two;
    await one.create("a", { n: 1 });
    for (let n = 2; n < 5; n += 1) {
      expect(await nearHits(one, "a", 5)).toBe(0);
      await two.change("a", { n });
      expect(await one.data("a")).toEqual({ n });
    }
    const told = one.events.filter((event) => event.type === "unsafe-redis");
    expect(told.map(({ error }) => error.message)).toEqual([expect.stringContaining("volatile-lru")]);
  });
});

describe("near copies of sessions on a Redis without memory", () => {
  it("are no obstacle to who signs out", async () => {
    const { port } = await startOwnRedis();
    const clients = [connect(port), connect(port)] as const;
    const [one, two] = (await openGroup(clients)) as Two;
    await one.create("a", { n: 1 });
    await untilCopied("a", one, two);
    await one.client.config("SET", "maxmemory", "1mb");
    onTestFinished(() => void one.client.config("SET", "maxmemory", "0").catch(() => undefined));
    await expect(one.change("a", { n: 2 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await two.data("a")).toEqual({ n: 1 });
    await one.sessions.destroy("a");
    expect(await two.sessions.load("a")).toBeUndefined();
  });
});

describe("a write of a session with near copies, when another primary comes", () => {
  it("begins again there (C9)", async () => {
    const { port } = await startOwnRedis();
    let revokes = 0;
    const wrap = (near: NearEngine["near"], index: number) =>
      nearWith(near, {
        revoke: async (...args) => {
          const outcome = await near.revoke(...args);
          revokes += Number(index === 1);
          if (index === 1 && revokes === 1) await promote(clients[0]);
          return outcome;
        },
      });
    const clients = [connect(port), connect(port)] as const;
    const [one, two] = (await openGroup(clients, { wrap })) as Two;
    await one.create("a", { n: 1 });
    await untilCopied("a", one);
    await two.change("a", { n: 2 });
    expect(revokes).toBeGreaterThan(1);
    expect(await one.data("a")).toEqual({ n: 2 });
  });
});

describe("near copies of sessions over a failover in which the old primary lives on", () => {
  it("are not made by a server whose client is still there, and whose group is not (C9)", async () => {
    const { port } = await startOwnRedis();
    const [old, next] = [connect((await startOwnRedis()).port), connect(port)];
    const duplicate = old.duplicate.bind(old);
    old.duplicate = (options) => duplicate({ ...options, port });
    const [one, two] = (await openGroup([old, next])) as Two;
    await one.create("a", { n: 1 });
    const { record } = keysOf(one, "a");
    await next.set(record, (await old.get(record)) ?? "", "PX", 60_000);
    await untilCopied("a", two);
    await two.sessions.destroy("a");
    // The old primary gives what it has; once the client has moved on, nothing of that is left.
    for (let load = 0; load < 10; load += 1) {
      expect(one.near.mayServe()).toBe(true);
      expect(await nearHits(one, "a", 1)).toBe(0);
    }
  });
});

describe("near copies of sessions on a Cluster", () => {
  it("are seen to change at once, also where the client puts something before each key", async () => {
    const { port } = await startOwnCluster();
    const clients = [connectCluster(port, "added:"), connectCluster(port, "added:")] as const;
    const [one, two] = (await openGroup(clients as unknown as readonly Redis[])) as Two;
    const ids = Array.from({ length: 12 }, (_, index) => `a${index}`);
    for (const id of ids) {
      await one.create(id, { n: 1 });
      await untilCopied(id, one);
      await two.change(id, { n: 2 });
      expect(await one.data(id)).toEqual({ n: 2 });
      await two.sessions.destroy(id);
      expect(await one.sessions.load(id)).toBeUndefined();
      expect(await two.client.exists(keysOf(one, id).record)).toBe(1);
    }
  });
});
