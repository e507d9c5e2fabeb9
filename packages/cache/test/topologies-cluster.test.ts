import slotOf from "cluster-key-slot";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { stopClock } from "../../redis-kit/test/harness/clock.ts";
import {
  connectToCluster,
  infoNumber,
  type Node,
  type SixNodes,
  startSixNodes,
  moveOf,
} from "../../redis-kit/test/harness/topologies.ts";
import { type CacheEvent, createCache } from "../src/index.ts";
import { createKeys } from "../src/keys.ts";
import { expectAllToWork } from "./harness/all-to-work.ts";
import { Load } from "./harness/load.ts";
import { uniqueName, untilOldEnough } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const times = { pendingMs: 900, commitDeadlineMs: 800 };

let cluster: SixNodes;
beforeEach(async () => {
  cluster = await startSixNodes();
}, 30_000);
afterEach(() => cluster.stop());

interface Options {
  readonly deadlineMs?: number;
  readonly client?: ReturnType<typeof connectToCluster>;
  readonly onEvent?: (event: CacheEvent) => void;
}

/** A server on the Cluster, once that is old enough for fills. */
async function openOnCluster({ deadlineMs = 5_000, client = connectToCluster(cluster), ...options }: Options = {}) {
  const source = new Source();
  const name = uniqueName();
  const cache = createCache({ client, name, deadlineMs, ...options });
  onTestFinished(() => {
    cache.close();
  });
  await until(() => cache.ready());
  for (const { admin } of cluster.primaries) await untilOldEnough(admin, times.pendingMs);
  const loading = { loadMany: source.loadMany, ttlMs: 60_000, ...times };
  return { source, cache, things: cache.collection<unknown>("thing", loading), keys: createKeys(name, "thing") };
}

/** Ids whose entries are all in the slot of the first. */
function idsOfOneSlot(keys: ReturnType<typeof createKeys>, count: number): string[] {
  const slot = slotOf(keys.of("0").entry);
  const ids: string[] = [];
  for (let id = 0; ids.length < count; id += 1) if (slotOf(keys.of(`${id}`).entry) === slot) ids.push(`${id}`);
  return ids;
}

async function readsOf(nodes: readonly Node[]): Promise<number> {
  const each = await Promise.all(nodes.map(({ admin }) => infoNumber(admin, "stats", "total_reads_processed")));
  return each.reduce((sum, reads) => sum + reads, 0) - nodes.length;
}

describe("on a Cluster of three primaries and three replicas, a cache", () => {
  it("does all that it does", async () => {
    const { things, source } = await openOnCluster();
    await expectAllToWork(things, source);
  }, 30_000);

  it("reads many ids in as many scripts as they have slots, which leave together", async () => {
    const { things, source } = await openOnCluster();
    const ids = Array.from({ length: 300 }, (_, index) => `id ${index}`);
    for (const id of ids) source.rows.set(id, id);
    await things.getMany(ids);
    await until(() => expect(things.counts().fills).toBe(ids.length));
    const before = await readsOf(cluster.primaries);
    const goOn = stopClock();
    expect(await things.getMany(ids)).toEqual(ids);
    goOn();
    // Redis reads 16 KiB at a time; one by one there were as many reads as ids, or nearly.
    expect((await readsOf(cluster.primaries)) - before).toBeLessThan(ids.length / 5);
    expect(things.counts().hits).toBe(ids.length);
  }, 30_000);

  it("serves nothing stale and fails no read while a slot with live entries moves", async () => {
    const { things, source, keys } = await openOnCluster({ deadlineMs: 250 });
    const ids = idsOfOneSlot(keys, 4);
    const load = new Load({ things, source }, ids);
    await until(() => expect(load.updates).toBeGreaterThan(20));
    const refusedBefore = load.refusals.length;
    const move = moveOf(cluster, slotOf(keys.of("0").entry));
    await move.begin();
    const { rounds } = load;
    // Here each script with an entry that is there and a mark that is not is answered with TRYAGAIN.
    await until(() => expect(load.rounds).toBeGreaterThan(rounds + 3));
    await move.carryOver();
    await move.end();
    const { updates } = load;
    await until(() => expect(load.updates).toBeGreaterThan(updates + 20));
    await load.stop();
    expect(refusedBefore).toBe(0);
    expect(load.refusals.length).toBeGreaterThan(0);
    expect(load.refusals.every((code) => code === "UNAVAILABLE")).toBe(true);
    await until(async () => {
      expect((await things.lookupMany(ids)).every(({ from }) => from === "shared")).toBe(true);
    });
  }, 30_000);

  it("keeps its breaker closed for all other slots while one moves, where the client gives up in time", async () => {
    const events: CacheEvent[] = [];
    const client = connectToCluster(cluster, { retryDelayOnTryAgain: 5 });
    const { things, source, keys } = await openOnCluster({ client, onEvent: (event) => events.push(event) });
    const [id = "0"] = idsOfOneSlot(keys, 1);
    source.rows.set(id, "moving");
    await things.get(id);
    await until(() => expect(things.counts().fills).toBe(1));
    const move = moveOf(cluster, slotOf(keys.of(id).entry));
    await move.begin();
    // Its mark is on neither node, and a script that names it has to wait.
    for (let read = 0; read < 10; read += 1) {
      expect(await things.lookup(id)).toEqual({ value: "moving", from: "source" });
    }
    await expect(things.update(id, source.write(id, "never"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(events.filter(({ type }) => type === "breaker")).toEqual([]);
    await move.carryOver();
    await move.end();
    await until(async () => expect((await things.lookup(id)).from).toBe("shared"));
  }, 30_000);

  it("answers all reads when a primary is killed, and takes its replica for the new one without a restart", async () => {
    const { things, source, keys } = await openOnCluster({ deadlineMs: 250 });
    // Of the first slot range, whose primary goes, and of others.
    const all = Array.from({ length: 60 }, (_, index) => `id ${index}`);
    const ids = all.filter((id) => slotOf(keys.of(id).entry) < 5_461).slice(0, 5);
    for (const id of all) source.rows.set(id, 0);
    await things.getMany(all);
    await until(() => expect(things.counts().fills).toBe(all.length));
    const [first] = ids;
    if (first === undefined) throw new Error("No id is in the first third of the slots.");
    const replica = cluster.replicas[0]?.admin;
    cluster.primaries[0]?.process.kill("SIGKILL");
    await until(async () => expect(await replica?.role()).toContain("master"));
    // It has all entries, with the epoch of the old one.
    expect(await replica?.exists(keys.of(first).entry)).toBe(1);
    const load = new Load({ things, source }, ids);
    await until(() => expect(load.updates).toBeGreaterThan(20));
    await load.stop();
    expect(load.refusals.every((code) => code === "UNAVAILABLE")).toBe(true);
    await until(async () => {
      await things.getMany(ids);
      expect((await things.lookupMany(ids)).every(({ from }) => from === "shared")).toBe(true);
    });
  }, 30_000);
});
