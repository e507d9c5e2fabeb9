import { demand, milliseconds, millisecondsOrNone, whole } from "../option-checks.ts";
import {
  type CollectionOptions,
  type ResolvedCollectionOptions,
  type WriteContext,
  clockDrift,
  resolveCollectionOptions,
} from "../options.ts";

/** An accepted write of a write-behind collection that is to be saved. */
export interface Row<T> {
  /** Each is in a batch once, with the newest value that was accepted. */
  readonly id: string;
  /** `undefined`: it is to be deleted. Deeply frozen. */
  readonly value: Readonly<T> | undefined;
  /**
   * Grows with each accepted write of an id, from one server to the next: microseconds of Redis' clock, or more. A batch may
   * come more than once, so save only where the version that is there is smaller.
   */
  readonly version: number;
}

/**
 * Saves a batch in the source, by its deadline; what it throws makes the whole batch be tried again. It may be given
 * rows that it has saved before.
 */
export type Save<T> = (batch: readonly Row<T>[], context: WriteContext) => Promise<unknown>;

/** Options of a write-behind collection. Those of reading are as in {@link CollectionOptions}. All servers must give the same. */
export interface WriteBehindOptions<T> extends Pick<
  CollectionOptions<T>,
  | "load"
  | "loadMany"
  | "ttlMs"
  | "missingMs"
  | "jitter"
  | "loadTimeoutMs"
  | "maxSourceConcurrency"
  | "maxSourceQueue"
  | "maxBytes"
> {
  /** A write is accepted by Redis, and saved in the source later. */
  readonly writePolicy: "write-behind";
  /** Saves a batch. */
  readonly save: Save<T>;
  /** How long a save may take, in ms; default 4,000. A server's death holds up its rows for about as long. */
  readonly saveTimeoutMs?: number | undefined;
  /** How long a row waits for later writes of its id, and for others, before it is saved, in ms; default 1,000. */
  readonly flushAfterMs?: number | undefined;
  /** How many rows one batch has at most; default 100, at most 1,000. */
  readonly maxBatch?: number | undefined;
  /** How often a row may fail alone, while the source saves others, before it becomes a dead letter; default 12: some 45 s. */
  readonly maxAttempts?: number | undefined;
  /**
   * How many ids may wait, dead letters included, of whatever size; default 10,000, a sixteenth of it, rounded up, in each partition.
   * Further ids are refused.
   */
  readonly maxBacklog?: number | undefined;
}

/** Options of a write-behind collection as it uses them: checked, and none missing. */
export interface ResolvedWriteBehindOptions<T> {
  readonly reads: ResolvedCollectionOptions<T, string>;
  readonly save: Save<T>;
  readonly saveTimeoutMs: number;
  /** The life of a flusher's lease. */
  readonly leaseMs: number;
  /** How long a row is told to wait at most, at once: for others, after a failure, or for what the source may still save. */
  readonly longestWaitMs: number;
  readonly flushAfterMs: number;
  readonly maxBatch: number;
  readonly maxAttempts: number;
  readonly maxBacklog: number;
}

/** How long to wait at most after a batch that could not be saved. */
export const longestPauseMs = 5_000;

/** How much longer than a save a flusher's lease lives: the time to hand the batch out. */
const leaseMarginMs = 250;

/** @throws TypeError naming the first option that can't be meant */
export function resolveWriteBehindOptions<T>(
  type: string,
  options: WriteBehindOptions<T>,
): ResolvedWriteBehindOptions<T> {
  const { load, loadMany, ttlMs, missingMs, jitter, loadTimeoutMs, maxSourceConcurrency, maxSourceQueue, maxBytes } =
    options;
  demand("maxBatch must be at most 1000", (options.maxBatch ?? 0) <= 1_000);
  demand("save must be a function", typeof (options as Partial<WriteBehindOptions<T>>).save === "function");
  const limits = { jitter, loadTimeoutMs, maxSourceConcurrency, maxSourceQueue, maxBytes };
  const saveTimeoutMs = milliseconds("saveTimeoutMs", options.saveTimeoutMs ?? 4_000);
  const flushAfterMs = millisecondsOrNone("flushAfterMs", options.flushAfterMs ?? 1_000);
  return {
    reads: resolveCollectionOptions(type, { load, loadMany, ttlMs, missingMs, ...limits }),
    save: options.save,
    saveTimeoutMs,
    leaseMs: milliseconds("saveTimeoutMs with its margin", (saveTimeoutMs + leaseMarginMs) / (1 - clockDrift)),
    longestWaitMs: Math.max(flushAfterMs, saveTimeoutMs, longestPauseMs),
    flushAfterMs,
    maxBatch: whole("maxBatch", options.maxBatch ?? 100),
    maxAttempts: whole("maxAttempts", options.maxAttempts ?? 12),
    maxBacklog: whole("maxBacklog", options.maxBacklog ?? 10_000),
  };
}
