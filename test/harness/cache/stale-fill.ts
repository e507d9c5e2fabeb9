import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import type { Outcome } from "../anomalies.ts";
import type { CacheOnServer } from "./cache-server.ts";
import { History } from "./history.ts";
import { chunks, inParallel } from "./in-parallel.ts";
import { pick, type Random, seededRandom, shuffled } from "./random.ts";
import { Records } from "./records.ts";

/** How many interleavings, on ids of their own, are under way at once. */
const parallel = 256;

/** Opens a cache on each server of a run, on records of its own. */
export type Open = (records: Records) => Promise<CacheOnServer[]>;

/**
 * G5: a loader has read the old value from the source; another server writes, and its write returns; only then the loader
 * goes on and stores. Then every server reads. A violation is an interleaving after which one of them shows less than
 * the write.
 */
export async function staleFill(open: Open, { rounds, seed }: { rounds: number; seed: number }): Promise<Outcome> {
  const records = new Records();
  const history = new History(records);
  const caches = await open(records);
  const ids = Array.from({ length: rounds }, (_, round) => `forced-${round}`);
  await inParallel(ids, parallel, (id, round) =>
    interleave({ caches, records, history, random: seededRandom(seed + round) }, id),
  );
  // Once more, in case an unheeded store came after the reads of its own round.
  for (const cache of caches) await inParallel(chunks(ids, 100), parallel, (some) => history.read(cache, ...some));
  return {
    attempts: rounds,
    violations: new Set(history.violations).size,
    detail: describe(caches, records, history, seed),
  };
}

interface Run {
  readonly caches: readonly CacheOnServer[];
  readonly records: Records;
  readonly history: History;
  readonly random: Random;
}

async function interleave(run: Run, id: string): Promise<void> {
  const { caches, records, history, random } = run;
  records.commit(id);
  const [loader, writer, ...others] = shuffled(caches, random);
  if (loader === undefined || writer === undefined) throw new RangeError("An interleaving needs two servers.");
  const barrier = records.holdLoads(id);
  const reads = [history.read(loader, id)];
  await barrier.arrivals(1);
  // Some ask while the loader holds the old value; they wait for it, or load for themselves.
  for (const other of others) if (random() < 0.3) reads.push(history.read(other, id));
  if (random() < 0.5) await nextTurn();
  if (random() < 0.8) await history.write(writer, id, random);
  else await overlappingWrites(run, id, [writer, pick([loader, ...others], random)]);
  barrier.release();
  await Promise.all(reads);
  await Promise.all(shuffled(caches, random).map((cache) => history.read(cache, id)));
}

/** Two writes at once: the one that is committed first is the last to return. */
async function overlappingWrites(
  { records, history, random }: Run,
  id: string,
  [first, second]: readonly [CacheOnServer, CacheOnServer],
): Promise<void> {
  const barrier = records.holdNextSave(id);
  const firstWrite = history.update(first, id);
  await barrier.arrivals(1);
  await history.write(second, id, random);
  barrier.release();
  await firstWrite;
}

/**
 * C6: a load reads the old value while a write is pending, and is held. Once the write has returned somebody else asks the
 * same server. A violation is an id for which that late reader was handed the old value.
 */
export async function lateReader(open: Open, { rounds }: { rounds: number }): Promise<Outcome> {
  const records = new Records();
  const history = new History(records);
  const caches = await open(records);
  const [reader, writer] = caches;
  if (reader === undefined || writer === undefined) throw new RangeError("A late reader needs two servers.");
  const ids = Array.from({ length: rounds }, (_, round) => `late-${round}`);
  await inParallel(ids, 4, async (id) => {
    records.commit(id);
    const barrier = records.holdLoads(id);
    const reads: Promise<void>[] = [];
    records.beforeNextCommit(id, async () => {
      reads.push(history.read(reader, id));
      await barrier.arrivals(1);
      records.holdNoMoreLoads(id);
    });
    await history.update(writer, id);
    reads.push(history.read(reader, id));
    // A cached entry: its answer comes after the late reader has learned from Redis that it must load.
    await history.read(reader, "warm-up");
    barrier.release();
    await Promise.all(reads);
  });
  return {
    attempts: rounds,
    violations: new Set(history.violations).size,
    detail: describe(caches, records, history),
  };
}

/**
 * G1, G5: all servers read and write a few ids at once, from a source that takes its time, nothing forced. Half of the ids
 * are changed past the cache. A violation is a read that is stale or goes backwards.
 */
export async function freeRun(open: Open, { steps, seed }: { steps: number; seed: number }): Promise<Outcome> {
  const pauses = seededRandom(seed);
  const records = new Records(() => (pauses() < 0.5 ? nextTurn() : delay(Math.ceil(pauses() * 3))));
  const history = new History(records);
  const caches = await open(records);
  const ids = Array.from({ length: 24 }, (_, index) => `free-${index}`);
  await inParallel(Array.from({ length: steps }), parallel, async (_, step) => {
    const random = seededRandom(seed + step);
    const [cache, choice] = [pick(caches, random), random()];
    if (choice < 0.65) await history.read(cache, pick(ids, random));
    else if (choice < 0.85) await history.read(cache, ...shuffled(ids, random).slice(0, 5));
    else {
      const index = Math.floor(random() * ids.length);
      const id = ids[index] ?? "";
      await (index % 2 === 0 ? history.update(cache, id) : history.changePast(cache, id));
    }
  });
  return {
    attempts: history.reads,
    violations: history.violations.length,
    detail: describe(caches, records, history, seed),
  };
}

function describe(caches: readonly CacheOnServer[], records: Records, history: History, seed?: number): string {
  const { reads, writes, stale, backwards } = history;
  return (
    `${caches.length} servers, ${reads} reads (${stale} stale, ${backwards} backwards), ` +
    `${writes} writes, ${records.loads} values loaded${seed === undefined ? "" : `; SEED=${seed}`}`
  );
}
