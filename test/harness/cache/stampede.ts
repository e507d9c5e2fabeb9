import type { CacheOnServer } from "./cache-server.ts";
import { AskedWatch } from "./asked-watch.ts";
import type { Barrier } from "./barrier.ts";
import type { Fleet } from "./fleet.ts";
import type { Records } from "./records.ts";

export interface Stampede {
  /** Loads of the one entry, over all servers. */
  readonly loads: number;
  readonly answers: readonly PromiseSettledResult<unknown>[];
  /** From the moment of `whileHeld` until the last answer. */
  readonly elapsedMs: number;
}

/**
 * G6: all servers ask for one entry that is nowhere cached. Loads are held until every server has asked Redis; then
 * `whileHeld` happens, and decides about the barrier.
 */
export async function stampede(
  fleet: Fleet,
  caches: readonly CacheOnServer[],
  records: Records,
  whileHeld: (barrier: Barrier, id: string) => Promise<void> | void = (barrier) => barrier.release(),
): Promise<Stampede> {
  stampedes += 1;
  const id = `stampede-${stampedes}.`;
  records.commit(id);
  const barrier = records.holdLoads(id);
  const watch = await AskedWatch.start(fleet.redis, id);
  try {
    const settled = Promise.allSettled(caches.map((cache) => cache.get(id)));
    await watch.connections(caches.length);
    await barrier.arrivals(1);
    const start = performance.now();
    await whileHeld(barrier, id);
    const answers = await settled;
    return { loads: records.loadsOf(id), answers, elapsedMs: performance.now() - start };
  } finally {
    watch.stop();
  }
}

let stampedes = 0;
