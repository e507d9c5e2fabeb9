import type { Cache, CollectionCounts, Latency, WritePolicy } from "@lockstep/cache";
import type { Config } from "../config.ts";

/** What the cache has done on one server since that started. */
export interface CacheFigures {
  readonly server: string;
  readonly profileWrites: WritePolicy;
  readonly collections: readonly CollectionFigures[];
}

export interface CollectionFigures {
  readonly type: string;
  /** The part of the reads that an entry in Redis answered, from 0 to 1; null before the first. */
  readonly hitRate: number | null;
  readonly counts: CollectionCounts;
  /** How long a trip took. */
  readonly latency: { readonly redis: Latency; readonly database: Latency };
}

export function cacheFigures(cache: Cache, { serverName, profileWrites }: Config): CacheFigures {
  const collections = cache.collections().map((collection): CollectionFigures => {
    const counts = collection.counts();
    const { shared, source } = collection.latency();
    return { type: collection.type, hitRate: hitRateOf(counts), counts, latency: { redis: shared, database: source } };
  });
  return { server: serverName, profileWrites, collections };
}

/** Reads that shared another's answer are left out: they asked nobody. */
function hitRateOf({ hits, misses, uncached, unavailable }: CollectionCounts): number | null {
  const reads = hits + misses + uncached + unavailable;
  return reads === 0 ? null : hits / reads;
}
