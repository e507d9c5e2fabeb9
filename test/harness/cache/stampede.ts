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
    const settled = Promise.allSettled(caches.map((cache) => cache.get(id)));
    await watch.connections(caches.length);
    await barrier.arrivals(1);
    const start = performance.now();
    await whileHeld(barrier, { records, id });
    const failures: unknown[] = [];
    for (const answer of await settled) {
      if (answer.status === "rejected") failures.push(answer.reason);
      else if (answer.value?.version !== value.version) failures.push("Another value was returned.");
    }
    return { loads: records.loadsOf(id), failures, elapsedMs: performance.now() - start };
  } finally {
    watch.stop();
  }
}
