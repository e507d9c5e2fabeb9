import { type RecordableHistogram, createHistogram } from "node:perf_hooks";
import { type CollectionCounts, type Latency, type TripTier, latencyOf } from "../counts.ts";

/** What happened to the reads and writes of a write-behind collection in this process since it started. Exact, not sampled. */
export interface WriteBehindCounts extends CollectionCounts {
  /** Writes that Redis has accepted. */
  readonly accepted: number;
  /** Those that took the place of one that was still to be saved. */
  readonly coalescedWrites: number;
  /** Writes that were refused: nothing of them is stored. */
  readonly refusedWrites: number;
  /** Batches that the source has saved. */
  readonly saves: number;
  /** The rows in them. */
  readonly savedRows: number;
  /** Batches that it has not: it threw, or took too long. */
  readonly failedSaves: number;
  /** Rows that became dead letters. */
  readonly deadLetters: number;
  /** Rows whose accepted value had vanished from Redis when it was to be saved: somebody has deleted it, or had Redis evict. */
  readonly lostRows: number;
}

/** `save`: how long a batch took. `lag`: how long a row has waited from its first unsaved write until it was saved. */
export type WriteBehindTime = TripTier | "save" | "lag";

/** The counts of the writes of one collection. */
export class WriteCounts {
  readonly #counts: Record<Exclude<keyof WriteBehindCounts, keyof CollectionCounts>, number> = {
    accepted: 0,
    coalescedWrites: 0,
    refusedWrites: 0,
    saves: 0,
    savedRows: 0,
    failedSaves: 0,
    deadLetters: 0,
    lostRows: 0,
  };
  readonly #microseconds: Record<"save" | "lag", RecordableHistogram> = {
    save: createHistogram(),
    lag: createHistogram(),
  };

  add(name: keyof typeof this.counts, by = 1): void {
    this.#counts[name] += by;
  }

  time(what: "save" | "lag", durationMs: number): void {
    this.#microseconds[what].record(Math.max(1, Math.round(durationMs * 1_000)));
  }

  get counts() {
    return { ...this.#counts };
  }

  get latency(): Readonly<Record<"save" | "lag", Latency>> {
    return { save: latencyOf(this.#microseconds.save), lag: latencyOf(this.#microseconds.lag) };
  }
}
