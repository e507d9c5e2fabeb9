import { channel } from "node:diagnostics_channel";
import { type RecordableHistogram, createHistogram } from "node:perf_hooks";
import { PayoffMeasure } from "./payoff-measure.ts";

/** What happened to the reads and writes of a collection in this process since it started. Exact, not sampled. */
export interface CollectionCounts {
  /** Reads answered by a near copy. */
  readonly nearHits: number;
  /** Entries found in the shared tier, each counted once however many reads of one tick shared it: those are `coalesced`. */
  readonly hits: number;
  /** Those hits that said: the source has no such value. */
  readonly missingHits: number;
  /** Reads that found no entry, and loaded with the right to store. */
  readonly misses: number;
  /** Values loaded from the source. */
  readonly loads: number;
  /** Values whose load failed: the loader threw, or took too long. */
  readonly failedLoads: number;
  /** Values served after their life, while they are refreshed (`staleMs`). */
  readonly staleServed: number;
  /** Values served after their life because the source failed (`graceMs`). */
  readonly graceServed: number;
  /** Reads that shared another's trip, or another's load before it was sent. */
  readonly coalesced: number;
  /** Reads that waited for the load of another caller or server. */
  readonly waited: number;
  /**
   * Reads answered by the source past the cache: a write was pending, the value is not to be kept (too large), the server has just started or failed over or
   * is full, the entry was corrupt or had changed while it was gone, or another's load took too long.
   */
  readonly uncached: number;
  /** Reads answered by the source because the shared tier could not be asked. */
  readonly unavailable: number;
  /** Loads that were not stored: a write had begun since, or the token had lapsed. */
  readonly refusedFills: number;
  /** Loads that were stored. */
  readonly fills: number;
  /** Values served and not kept because they are larger than `maxBytes`, or than the server takes. */
  readonly tooLarge: number;
  /** Writes that were done. */
  readonly updates: number;
  /** Writes refused because the shared tier could not be asked. */
  readonly refusedUpdates: number;
  /** Writes that were not done within their deadline. */
  readonly unknownOutcomes: number;
  /** Entries invalidated. */
  readonly invalidations: number;
  /** Writes and invalidations that went on while the shared tier was gone. */
  readonly proceeded: number;
  /** Near copies dropped by a write of this process. */
  readonly revokedCopies: number;
  /** Near copies dropped for want of room. */
  readonly evictedCopies: number;
  /** Those hits that a replica gave (`readFrom: "replica"`). */
  readonly replicaHits: number;
  /** Entries asked of a replica that was, or may have been, more than `maxLagMs` behind, or of what is no replica: the primary was asked. */
  readonly replicaTooFar: number;
  /** Reads whose value was compared with the source (`observe`). */
  readonly observed: number;
  /** Of these, copies that differed from their entry though no write was under way: with `"bounded"`, for up to `copyMs`. */
  readonly staleCopies: number;
  /** Of these, entries that differed from the source though no write was under way: it was changed past this cache. */
  readonly staleEntries: number;
}

/** How long something took, in ms, on the monotonic clock. */
export interface Latency {
  /** How many were measured. */
  readonly count: number;
  /** The mean. */
  readonly meanMs: number;
  /** The median. */
  readonly p50Ms: number;
  /** The 99th percentile. */
  readonly p99Ms: number;
}

/** Where a value came from: this process' memory; Redis or Memcached; the loader. */
export type Tier = "near" | "shared" | "source";

/** A tier that takes a trip. */
export type TripTier = Exclude<Tier, "near">;

/** What is published on the diagnostics channel `lockstep:cache:trip`: one trip to a tier, which may serve many reads. */
export interface Trip {
  /** The cache's name. */
  readonly cache: string;
  /** The collection's type. */
  readonly collection: string;
  /** Where it went. */
  readonly tier: TripTier;
  /** How long it took, in ms. */
  readonly durationMs: number;
}

/** The name of the diagnostics channel (`node:diagnostics_channel`) on which each {@link Trip} is published. */
export const tripChannel = "lockstep:cache:trip";

const trips = channel(tripChannel);

/** The counts of one collection, and how long its tiers took. */
export class Counts {
  /** What its callers wait for. */
  readonly payoff = new PayoffMeasure();
  readonly #names: { readonly cache: string; readonly type: string };
  readonly #counts: Record<keyof CollectionCounts, number> = {
    nearHits: 0,
    hits: 0,
    missingHits: 0,
    misses: 0,
    loads: 0,
    failedLoads: 0,
    staleServed: 0,
    graceServed: 0,
    coalesced: 0,
    waited: 0,
    uncached: 0,
    unavailable: 0,
    refusedFills: 0,
    fills: 0,
    tooLarge: 0,
    updates: 0,
    refusedUpdates: 0,
    unknownOutcomes: 0,
    invalidations: 0,
    proceeded: 0,
    revokedCopies: 0,
    evictedCopies: 0,
    replicaHits: 0,
    replicaTooFar: 0,
    observed: 0,
    staleCopies: 0,
    staleEntries: 0,
  };
  readonly #microseconds: Record<TripTier, RecordableHistogram> = {
    shared: createHistogram(),
    source: createHistogram(),
  };

  readonly #lagMicroseconds = createHistogram();

  constructor(names: { cache: string; type: string }) {
    this.#names = names;
  }

  add(name: keyof CollectionCounts, by = 1): void {
    this.#counts[name] += by;
  }

  time(tier: TripTier, durationMs: number): void {
    record(this.#microseconds[tier], durationMs);
    if (!trips.hasSubscribers) return;
    const { cache, type } = this.#names;
    trips.publish({ cache, collection: type, tier, durationMs } satisfies Trip);
  }

  /** How far a replica was behind, at the most. */
  timeLag(lagMs: number): void {
    record(this.#lagMicroseconds, lagMs);
  }

  counts(): CollectionCounts {
    return { ...this.#counts };
  }

  latency(tier: TripTier): Latency {
    return latencyOf(this.#microseconds[tier]);
  }

  replicaLag(): Latency {
    return latencyOf(this.#lagMicroseconds);
  }
}

function record(histogram: RecordableHistogram, durationMs: number): void {
  histogram.record(Math.max(1, Math.round(durationMs * 1_000)));
}

/** @param histogram of microseconds */
export function latencyOf(histogram: RecordableHistogram): Latency {
  if (histogram.count === 0) return { count: 0, meanMs: 0, p50Ms: 0, p99Ms: 0 };
  const ms = (microseconds: number) => microseconds / 1_000;
  return {
    count: histogram.count,
    meanMs: ms(histogram.mean),
    p50Ms: ms(histogram.percentile(50)),
    p99Ms: ms(histogram.percentile(99)),
  };
}
