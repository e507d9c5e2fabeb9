import { setTimeout as delay } from "node:timers/promises";
import { AskedWatch } from "./asked-watch.ts";
import type { Barrier } from "./barrier.ts";
import { type CacheOnServer, recordsOf } from "./cache-server.ts";
import type { Fleet } from "./fleet.ts";
import type { Records } from "./records.ts";

export interface Stampede {
  /** Loads of the one entry, over all servers. */
  readonly loads: number;
  /** Why reads failed; all others have returned the value. */
  readonly failures: readonly unknown[];
  /** From when all had asked until the last was answered. */
  readonly elapsedMs: number;
}

type WhileHeld = (barrier: Barrier, entry: { readonly records: Records; readonly id: string }) => Promise<void> | void;

/** A load has two seconds by default, and as long to wait for its turn; its token a quarter more; the rest is for a busy machine. */
export const takenOverWithinMs = 7_000;

/** Who waits for another server looks again every 50 ms. */
export const handedOverWithinMs = 1_500;

/** A read that takes longer counts as failed. */
const answeredWithinMs = 12_000;

let stampedes = 0;

/**
 * G6: all servers ask for one entry that is nowhere cached. Its loads are held until every server has asked Redis; then
 * `whileHeld` happens.
 */
export async function stampede(
  fleet: Fleet,
  caches: readonly CacheOnServer[],
  whileHeld: WhileHeld = (barrier) => barrier.release(),
): Promise<Stampede> {
  const records = recordsOf(caches);
  stampedes += 1;
  const id = `stampede-${stampedes}.`;
  const value = records.commit(id);
  const barrier = records.holdLoads(id);
  const watch = await AskedWatch.start(fleet.redis, id);
  try {
    const failures: unknown[] = [];
    const reads = caches.map(async (cache) => {
      try {
        const read = await cache.get(id);
        if (read?.version !== value.version) failures.push("another value");
      } catch (error) {
        failures.push(error);
      }
    });
    await watch.connections(caches.length);
    await barrier.arrivals(1);
    const start = performance.now();
    await whileHeld(barrier, { records, id });
    const tooLate = delay(answeredWithinMs, "too late", { ref: false });
    if ((await Promise.race([Promise.all(reads), tooLate])) === "too late") failures.push("unanswered");
    return { loads: records.loadsOf(id), failures, elapsedMs: performance.now() - start };
  } finally {
    watch.stop();
  }
}

/** The server that loads is killed. */
export function loaderKilled(fleet: Fleet, caches: readonly CacheOnServer[]): Promise<Stampede> {
  return stampede(fleet, caches, async (barrier) => {
    await caches.find(({ server }) => server.name === barrier.waiting[0])?.server.kill();
    barrier.release();
  });
}

/** The first load fails. */
export function loadFails(fleet: Fleet, caches: readonly CacheOnServer[], error: Error): Promise<Stampede> {
  return stampede(fleet, caches, (barrier, { records, id }) => {
    records.failNextLoad(id, error);
    barrier.release();
  });
}

/** The first load never returns. */
export function loadHangs(fleet: Fleet, caches: readonly CacheOnServer[]): Promise<Stampede> {
  return stampede(fleet, caches, (_barrier, { records, id }) => {
    records.holdNoMoreLoads(id);
  });
}
