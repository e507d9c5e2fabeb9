import { setImmediate as turn } from "node:timers/promises";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { FaultProxy } from "../../../test/harness/fault-proxy.ts";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import {
  connectToCluster,
  startReplica,
  startSixNodes,
  type SixNodes,
} from "../../redis-kit/test/harness/topologies.ts";
import { type Cache, type CacheOptions, type Collection, type CollectionOptions, createCache } from "../src/index.ts";
import { createKeys } from "../src/keys.ts";
import { History } from "./harness/history.ts";
import { testClient, uniqueName, untilOldEnough } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const times = { pendingMs: 900, commitDeadlineMs: 800 };

/** How often a server was asked to run a script that reads only. */
async function readsAt(node: Redis): Promise<number> {
  const info = await node.info("commandstats");
  return Number(/^cmdstat_evalsha_ro:calls=(\d+)/m.exec(info)?.[1] ?? 0);
}

interface Served {
  readonly cache: Cache;
  readonly things: Collection<unknown>;
}

function serve(source: Source, clients: CacheOptions, maxLagMs: number): Served {
  const cache = createCache({ ...clients, deadlineMs: 500 } satisfies CacheOptions);
  onTestFinished(() => {
    cache.close();
  });
  const options: CollectionOptions<unknown> = { load: source.load, ttlMs: 60_000, ...times };
  // The shortest copy: each read that is worth a test is one of the shared tier.
  const reading = { coherence: "bounded", copyMs: 1, readFrom: "replica", maxLagMs } as const;
  return { cache, things: cache.collection<unknown>("thing", { ...options, ...reading }) };
}

/** A primary, its replica behind a proxy, and two servers that read from that. */
async function openPair(source: Source, { maxLagMs = 1_000 } = {}) {
  const primary = await startOwnRedis();
  const link = await FaultProxy.start(primary.port);
  onTestFinished(() => link.stop());
  const set = await startReplica(link);
  onTestFinished(() => set.stop());
  const { replica } = set;
  const name = uniqueName();
  const open = () => serve(source, { client: connect(primary.port), replicas: connect(replica.port), name }, maxLagMs);
  const [one, other] = [open(), open()];
  await untilOldEnough(connect(primary.port), times.pendingMs);
  return { primary, replica, link, one: one.things, other: other.things, keys: createKeys(name, "thing") };
}

/** Reads until the replica has answered once more. */
async function untilReplicaAnswers(things: Collection<unknown>, id: string): Promise<unknown> {
  const before = things.counts().replicaHits;
  let value: unknown;
  await until(async () => {
    value = await things.get(id);
    expect(things.counts().replicaHits).toBeGreaterThan(before);
  });
  return value;
}

describe("a collection that is read from replicas", () => {
  it("asks the replica, and the primary for what that does not have", async () => {
    const source = new Source({ a: 1, zero: 0 });
    const { primary, replica, one, other } = await openPair(source);
    for (const id of ["a", "zero", "none"]) await one.get(id);
    await until(() => expect(one.counts().fills).toBe(3));
    expect(await untilReplicaAnswers(other, "a")).toBe(1);
    expect(await untilReplicaAnswers(other, "zero")).toBe(0);
    expect(await untilReplicaAnswers(other, "none")).toBe(undefined);
    expect(source.loads).toHaveLength(3);
    expect(await readsAt(replica.admin)).toBeGreaterThan(0);
    expect(await readsAt(connect(primary.port))).toBe(0);
    const { hits, replicaHits } = other.counts();
    expect(hits).toBeGreaterThanOrEqual(replicaHits);
    expect(other.replicaLag().count).toBeGreaterThan(0);
    expect(other.latency().shared.count).toBeGreaterThanOrEqual(replicaHits);
  });

  it("counts what it asks of a primary in a replica's place, and uses nothing of it", async () => {
    const source = new Source({ a: 1 });
    const { port } = await startOwnRedis();
    const client = connect(port);
    const { things } = serve(source, { client, replicas: connect(port), name: uniqueName() }, 1_000);
    await until(async () => {
      expect(await things.get("a")).toBe(1);
      expect(things.counts().replicaTooFar).toBeGreaterThan(0);
    });
    expect(things.counts().replicaHits).toBe(0);
  });

  it("reads its own writes back at once, and another server's within the lag", async () => {
    const source = new Source({ a: 0 });
    const { link, one, other } = await openPair(source, { maxLagMs: 400 });
    await one.get("a");
    await untilReplicaAnswers(other, "a");
    await untilReplicaAnswers(one, "a");
    await link.set("hold"); // the replica stays as it is
    for (const value of [1, 2]) {
      await one.update("a", source.write("a", value));
      const writtenAt = performance.now();
      expect(await one.get("a")).toBe(value);
      while (performance.now() - writtenAt <= 400) {
        expect(await one.get("a")).toBe(value);
        await other.get("a");
        await turn();
      }
      expect(await other.get("a")).toBe(value);
    }
    source.rows.set("a", 3);
    await one.invalidate("a");
    expect(await one.get("a")).toBe(3);
    await one.clear();
    source.rows.set("a", 4);
    expect(await one.get("a")).toBe(4);
  });

  it.each<[string, (set: Awaited<ReturnType<typeof openPair>>) => unknown]>([
    ["is stopped", ({ replica }) => replica.process.kill("SIGSTOP")],
    ["is cut off from the primary", ({ link }) => link.set("refuse")],
    [
      "follows another primary",
      async ({ replica }) => replica.admin.replicaof("127.0.0.1", (await startOwnRedis()).port),
    ],
    ["was made a primary", ({ replica }) => replica.admin.replicaof("NO", "ONE")],
  ])("is never older than the lag where its replica %s", async (_, fault) => {
    const maxLagMs = 300;
    const source = new Source({ a: 0 });
    const set = await openPair(source, { maxLagMs });
    onTestFinished(() => {
      set.replica.process.kill("SIGCONT");
    });
    await set.one.get("a");
    await untilReplicaAnswers(set.other, "a");
    await fault(set);
    const history = new History();
    const done = { isDone: false };
    const writing = (async () => {
      for (let value = 1; value <= 20; value += 1) {
        await set.one.update("a", source.write("a", value));
        history.acknowledged(value);
        await set.other.get("a");
      }
    })().finally(() => (done.isDone = true));
    const read = async () => {
      const sentAt = performance.now();
      history.expectRecent(await set.other.get("a"), sentAt - maxLagMs - 1);
      await turn();
    };
    while (!done.isDone) await read();
    await writing;
    // The last value for as long as an answer may be late, and a little longer.
    while (history.msSinceLast() < 2 * maxLagMs) await read();
    expect(await set.other.get("a")).toBe(20);
  });

  it("measures a lag that is at least the delay, and reads from the replica while that is within the bound", async () => {
    const delayMs = 150;
    const source = new Source({ a: 1 });
    const { link, primary, one, other } = await openPair(source, { maxLagMs: 2_000 });
    await one.get("a");
    await untilReplicaAnswers(other, "a");
    // What goes from the primary to the replica: the proxy delays commands alone, so the replica is made late by a held link.
    const writer = connect(primary.port);
    const lagged = other.replicaLag().count;
    await link.set("hold");
    await writer.set("noise", 1);
    const heldAt = performance.now();
    await until(() => expect(performance.now() - heldAt).toBeGreaterThan(delayMs));
    await until(async () => {
      await other.get("a");
      expect(other.replicaLag().p99Ms).toBeGreaterThanOrEqual(delayMs);
    });
    expect(other.replicaLag().count).toBeGreaterThan(lagged);
    expect(other.counts().replicaTooFar).toBe(0);
    expect(other.replicaLag().p99Ms).toBeLessThan(performance.now() - heldAt + 2_000 / 4 + 100);
  });

  it("counts the answers of a replica that is too far behind, and uses none", async () => {
    const source = new Source({ a: 1 });
    const { link, primary, one, other } = await openPair(source, { maxLagMs: 200 });
    await one.get("a");
    await untilReplicaAnswers(other, "a");
    await link.set("hold");
    const writer = connect(primary.port);
    await until(async () => {
      await writer.set("noise", 1);
      await other.get("a");
      expect(other.counts().replicaTooFar).toBeGreaterThan(0);
    });
    const { replicaHits } = other.counts();
    for (let read = 0; read < 20; read += 1) expect(await other.get("a")).toBe(1);
    expect(other.counts().replicaHits).toBe(replicaHits);
    await link.set("pass");
    await untilReplicaAnswers(other, "a");
  });

  it("reads an entry of another revision, or that is corrupt, as the primary would", async () => {
    const source = new Source({ a: "new" });
    const { primary, replica, other, keys } = await openPair(source);
    await other.get("a");
    await untilReplicaAnswers(other, "a");
    const writer = connect(primary.port);
    const entry = (await writer.get(keys.of("a").entry)) ?? "";
    await writer.set(keys.of("a").entry, entry.replace(' v1:"new"', ' v2:"old"'), "KEEPTTL");
    await until(async () => expect(await replica.admin.get(keys.of("a").entry)).toContain("v2:"));
    expect((await other.lookup("a")).value).toBe("new");
  });
});

describe("a collection that is to be read from replicas", () => {
  const load = () => Promise.resolve(undefined);

  it.each<[string, Partial<CollectionOptions<unknown>>]>([
    ['needs coherence "bounded"', { readFrom: "replica" }],
    ["readFrom must be", { readFrom: "nearest" as never }],
    ['maxLagMs needs readFrom "replica"', { maxLagMs: 1 }],
    ["maxLagMs must be at most 60000", { readFrom: "replica", coherence: "bounded", maxLagMs: 60_001 }],
    ["maxLagMs must be", { readFrom: "replica", coherence: "bounded", maxLagMs: -1 }],
    ['needs the cache\'s "replicas"', { readFrom: "replica", coherence: "bounded" }],
  ])("is opened as it can be meant: %s", (message, options) => {
    const cache = createCache({ client: testClient(), name: uniqueName() });
    onTestFinished(() => {
      cache.close();
    });
    const open = () => cache.collection("thing", { load, ttlMs: 1, ...options });
    expect(open).toThrow(TypeError);
    expect(open).toThrow(message);
  });

  it("needs replicas that put the same prefix before all keys", () => {
    const create = () =>
      createCache({ client: testClient(), replicas: testClient({ keyPrefix: "other:" }), name: uniqueName() });
    expect(create).toThrow("keyPrefix");
  });
});

describe("on a Cluster with a replica of each primary, a collection that is read from replicas", () => {
  let cluster: SixNodes;
  beforeAll(async () => {
    cluster = await startSixNodes();
  }, 30_000);
  afterAll(() => cluster.stop());

  it("asks the replicas of all slots, and never sends them a script that writes", async () => {
    const source = new Source();
    const ids = Array.from({ length: 60 }, (_, index) => `id ${index}`);
    for (const id of ids) source.rows.set(id, id);
    const name = uniqueName();
    const [client, replicas] = [connectToCluster(cluster), connectToCluster(cluster, { scaleReads: "slave" })];
    const { cache, things } = serve(source, { client, replicas, name }, 1_000);
    await until(() => cache.ready());
    for (const { admin } of cluster.primaries) await untilOldEnough(admin, times.pendingMs);
    await until(async () => {
      await things.getMany(ids);
      expect((await things.lookupMany(ids)).every(({ from }) => from !== "source")).toBe(true);
    });
    const before = await Promise.all(cluster.nodes.map(({ admin }) => readsAt(admin)));
    await until(async () => {
      expect(await things.getMany(ids)).toEqual(ids);
      expect(things.counts().replicaHits).toBeGreaterThan(ids.length);
    });
    const after = await Promise.all(cluster.nodes.map(({ admin }) => readsAt(admin)));
    const more = after.map((count, index) => count - (before[index] ?? 0));
    expect(more.slice(0, 3)).toEqual([0, 0, 0]);
    for (const count of more.slice(3)) expect(count).toBeGreaterThan(0);
    await things.update("id 1", source.write("id 1", "changed"));
    expect(await things.get("id 1")).toBe("changed");
    expect(things.counts().replicaTooFar).toBe(0);
  });
});
