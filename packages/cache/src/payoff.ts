import { sentencesOf } from "./payoff-words.ts";

/**
 * Whether a collection's cache makes its callers wait less. `"needs more reads"` while the 95 % interval of
 * {@link PayoffReport.netMsPerRead} holds 0, and before 100 calls that read and 20 calls of the loader.
 */
export type PayoffVerdict = "pays" | "costs" | "needs more reads";

/** Which part of the reads a tier answered, each from 0 to 1. Together they are 1. */
export interface AnsweredBy {
  /** Copies in this process. */
  readonly near: number;
  /** Entries that all servers share: found, or there after waiting for somebody's load; expired ones too. */
  readonly shared: number;
  /** Loads, their own or one that they shared. */
  readonly source: number;
}

/** A mean, and where it lies with a certainty of 95 %, in ms. */
export interface Estimate {
  readonly meanMs: number;
  readonly lowMs: number;
  readonly highMs: number;
}

/**
 * Whether strict near copies pay, beside reading the shared tier each time: what the reads of this process have saved by them, and what its
 * writes have waited for the other servers to drop theirs. Each process pays for its own writes and gains by its own reads.
 */
export interface NearPayoff {
  /** `"needs more reads"` before 100 near hits. */
  readonly verdict: PayoffVerdict;
  /** Reads that were answered from memory. */
  readonly hits: number;
  /** Each of them is taken to have saved one trip to the shared tier, as long as those were in the mean; null before the first trip. */
  readonly savedMs: number | null;
  /** Writes that waited for other servers. */
  readonly writes: number;
  /** How long all of them together waited for that, in ms. */
  readonly paidMs: number;
  /** How many hits to a write it takes for copies to pay; null while that is not known. */
  readonly breakEvenHitsPerWrite: number | null;
}

/**
 * What a collection's cache has brought the callers of this process since it started, in the time that they waited. All of
 * it is plain JSON; what is not known yet is null.
 *
 * A read is one id. Those of one `getMany` or `lookupMany` all take as long as the call: its caller waits for the last. Each counts
 * for the tier that its value came from in the end, however it got there: by a trip of its own, by one that it shared (`coalesced`
 * in the counts), or after waiting for another's load (`waited`).
 *
 * Without the cache each read is taken to be one load, as long as loads were in the mean. A load is timed from the call of the loader to
 * its answer; one `loadMany` takes as long for each id. Waiting for a free place (`maxSourceConcurrency`) is left out of it, since
 * that bound comes with the cache; it is in the time of the reads.
 *
 * What it can't know:
 * - the source would have had all the reads to answer, and may have been slower for it: the cache may pay more than it says;
 * - the ids that were loaded may be others than those most read, quicker or slower to load, or loaded fewer at a time;
 * - a load while the source is busy with other work counts as it was, as do reads while Redis was gone;
 * - what write-behind saves the writers, what the source's load and Redis cost in money, and what other processes saw;
 * - that the past says little of the present: what has changed since the start shows late.
 *
 * The interval is Welch's, for means of unequal variances, with the normal distribution. It takes calls to be independent of one
 * another (the ids of one call are not taken to be). Reads that loaded contain their load: that makes it wider than need
 * be. Calls at one time share what was slow then, and few loads of very unequal times say little of the rest: that makes it narrower
 * than it should be. A verdict that is looked at again and again is wrong by chance more often than once in twenty.
 */
export interface PayoffReport {
  readonly verdict: PayoffVerdict;
  /** The same in a few plain sentences. */
  readonly words: string;
  /** Reads that were answered. */
  readonly reads: number;
  /** The calls that they came from: those of one `getMany` are one. */
  readonly readCalls: number;
  /** Reads that failed; left out of all else. A `getMany` that failed is all of its ids. */
  readonly failedReads: number;
  readonly answeredBy: AnsweredBy | null;
  /** The part of the reads that needed no load: near and shared together, from 0 to 1. 1 only if all did. */
  readonly hitRate: number | null;
  /** Values loaded from the source. */
  readonly loads: number;
  /** The calls of the loader that gave them. */
  readonly loadCalls: number;
  /** Values whose load failed; left out of all else. */
  readonly failedLoads: number;
  /** Reads beyond the loads. */
  readonly loadsSaved: number;
  /** The mean time of a read as its caller waited for it, in ms. */
  readonly readMs: number | null;
  /** The mean time of a load, in ms: what a read would take without the cache. */
  readonly loadMs: number | null;
  /** The one less the other: what a read saves, in ms; what writes pay is not taken off. */
  readonly savedMsPerRead: number | null;
  /** Updates, and calls of `invalidate` and `invalidateMany`. Those that failed are left out. */
  readonly writes: number;
  /** The mean time that one of them waited for the cache, beside the caller's own write, in ms. */
  readonly writeMs: number | null;
  /** What a read saves when what the writes pay is taken off, in ms: the verdict is about this. */
  readonly netMsPerRead: Estimate | null;
  /** The same for all reads: reads × load − time of the reads − what writes paid, in ms. */
  readonly netMs: number | null;
  /**
   * The mean time of a trip to the shared tier as a part of that of a load. The hit rate that pays for reads that all go there
   * first, writes aside; above 1 none does. Where near copies answer, a lower one may do.
   */
  readonly breakEvenHitRate: number | null;
  /** The mean time of a trip to the shared tier, in ms. */
  readonly tripMs: number | null;
  /** Whether near copies pay; null where the collection has none that are strict. */
  readonly near: NearPayoff | null;
}

/** What a process has measured of calls. Each stands for `size` reads or loads, which all took as long as it did. */
export interface CallSums {
  readonly calls: number;
  /** The sum of the sizes: how many reads or loads. */
  readonly count: number;
  /** Σ size × ms. */
  readonly totalMs: number;
  /** Σ (size × ms)². */
  readonly squaredMs: number;
  /** Σ size². */
  readonly squaredSizes: number;
  /** Σ size² × ms. */
  readonly crossedMs: number;
}

/** What a report is made of. */
export interface Measured {
  readonly reads: CallSums;
  /** How many reads each tier answered. */
  readonly answers: Readonly<Record<keyof AnsweredBy, number>>;
  readonly failedReads: number;
  readonly loads: CallSums;
  readonly failedLoads: number;
  readonly writes: CallSums;
  /** What those of writes have taken that other servers had to be waited for. */
  readonly revocations: CallSums;
  /** The mean trip to the shared tier, in ms; null before the first. */
  readonly tripMs: number | null;
}

/** Twenty loads are twenty reads that missed: with fewer, the rare slow reads that decide may all be still to come. */
const leastReadCalls = 100;
const leastLoadCalls = 20;

/** Before so many near hits copies may just have been made. */
const leastNearHits = 100;

/** 95 % of a normal distribution lies within so many standard errors. */
const errorsWithin95 = 1.96;

/**
 * What was measured, judged. Pure.
 *
 * @param options `hasNear`: whether the collection has near copies that are strict
 */
export function payoffOf(measured: Measured, { hasNear = false } = {}): PayoffReport {
  const { reads, answers, loads, writes, failedReads, failedLoads, tripMs } = measured;
  const loadMs = meanOf(loads);
  const readMs = meanOf(reads);
  const net = netOf(measured);
  const isEnough = reads.calls >= leastReadCalls && loads.calls >= leastLoadCalls;
  const figures: Omit<PayoffReport, "words"> = {
    verdict: isEnough && net ? verdictOf(net) : "needs more reads",
    reads: reads.count,
    readCalls: reads.calls,
    failedReads,
    answeredBy: partsOf(answers, reads.count),
    hitRate: reads.count === 0 ? null : (answers.near + answers.shared) / reads.count,
    loads: loads.count,
    loadCalls: loads.calls,
    failedLoads,
    // Loads of reads that are under way are known before those reads.
    loadsSaved: Math.max(0, reads.count - loads.count),
    readMs,
    loadMs,
    savedMsPerRead: loadMs === null || readMs === null ? null : loadMs - readMs,
    writes: writes.calls,
    writeMs: meanOf(writes),
    netMsPerRead: net,
    netMs: net && net.meanMs * reads.count,
    breakEvenHitRate: tripMs === null || !loadMs ? null : tripMs / loadMs,
    tripMs,
    near: hasNear ? nearOf(measured) : null,
  };
  return { ...figures, words: sentencesOf(figures, { isEnough, leastReadCalls, leastLoadCalls }).join(" ") };
}

function verdictOf({ lowMs, highMs }: Estimate): PayoffVerdict {
  if (lowMs > 0) return "pays";
  return highMs < 0 ? "costs" : "needs more reads";
}

function nearOf({ answers, revocations, tripMs }: Measured): NearPayoff {
  const hits = answers.near;
  const paidMs = revocations.totalMs;
  const savedMs = tripMs === null ? null : hits * tripMs;
  const writeMs = meanOf(revocations);
  const isEnough = hits >= leastNearHits && savedMs !== null;
  return {
    verdict: isEnough ? (savedMs >= paidMs ? "pays" : "costs") : "needs more reads",
    hits,
    savedMs,
    writes: revocations.calls,
    paidMs,
    breakEvenHitsPerWrite: !tripMs || writeMs === null ? null : writeMs / tripMs,
  };
}

function netOf({ reads, loads, writes }: Measured): Estimate | null {
  const loadMs = meanOf(loads);
  const readMs = meanOf(reads);
  if (loadMs === null || readMs === null) return null;
  const meanMs = loadMs - readMs - writes.totalMs / reads.count;
  const writesPerRead = writes.count / reads.count;
  const variance = varianceOfMean(loads) + varianceOfMean(reads) + writesPerRead ** 2 * varianceOfMean(writes);
  const halfMs = errorsWithin95 * Math.sqrt(variance);
  return { meanMs, lowMs: meanMs - halfMs, highMs: meanMs + halfMs };
}

function meanOf({ count, totalMs }: CallSums): number | null {
  return count === 0 ? null : totalMs / count;
}

/** Of calls of one size it is s²/n. The ids of one call are no more witnesses than one: a ratio estimator over clusters. */
function varianceOfMean({ calls, count, totalMs, squaredMs, squaredSizes, crossedMs }: CallSums): number {
  if (calls < 2) return 0;
  const mean = totalMs / count;
  const squaredDeviations = squaredMs - 2 * mean * crossedMs + mean ** 2 * squaredSizes;
  return ((calls / (calls - 1)) * Math.max(0, squaredDeviations)) / count ** 2;
}

function partsOf({ near, shared, source }: Measured["answers"], reads: number): AnsweredBy | null {
  return reads === 0 ? null : { near: near / reads, shared: shared / reads, source: source / reads };
}
