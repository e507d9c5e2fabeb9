import { withDeadline } from "@lockstep/redis-kit";
import { decode, isMissing } from "../codec.ts";
import { CacheError } from "../errors.ts";
import type { CollectionEvent } from "../events.ts";
import { lifeOf } from "../freshness.ts";
import { idOfRow } from "../keys.ts";
import { clockDrift } from "../options.ts";
import {
  type Holder,
  type TakenRow,
  claimRows,
  failRow,
  releaseLease,
  settleRows,
  takeRows,
} from "../queue-scripts.ts";
import type { WriteCounts } from "./counts.ts";
import type { ResolvedWriteBehindOptions } from "./options.ts";
import type { Shared } from "./shared.ts";

/** What the flushers of one collection's partitions share. */
export interface FlusherParts<T> {
  readonly shared: Shared;
  readonly options: ResolvedWriteBehindOptions<T>;
  readonly counts: WriteCounts;
  readonly tell: (event: Omit<CollectionEvent, "collection">) => void;
  /** Aborts when the cache is closed. */
  readonly signal: AbortSignal;
  /** Does work that asks the source, so many at a time. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  /** The source has just saved something. */
  readonly sourceSaved: () => void;
  /** When it last has, on the clock of `performance.now()`; `undefined`: it has not yet. */
  readonly lastSavedAt: () => number | undefined;
}

/** How long to wait after a batch that could not be saved, at first and at most. */
const firstPauseMs = 100;
const maxPauseMs = 5_000;

/** A batch is no larger than this, unless one row is. */
const maxBatchBytes = 4_194_304;

/** How often rows are looked for: a fraction of the time that they wait, within these bounds. */
const pollsPerWait = 4;
const minPollMs = 10;
const maxPollMs = 250;

/**
 * Saves the rows of one partition while it holds its lease: one batch after the other, so that no old value is saved after a newer
 * one. Where a batch fails it is halved, down to the row that is to blame.
 */
export class PartitionFlusher<T> {
  readonly #parts: FlusherParts<T>;
  readonly #options: ResolvedWriteBehindOptions<T>;
  readonly #holder: Holder;
  readonly #pollMs: number;
  #batchSize: number;
  /** How many batches of one row have failed in a row. */
  #failures = 0;
  #pausedUntil = 0;
  #dueBy = 0;
  #isHeld = false;
  /** Until when the source may still do what a save was to: until its deadline, unless it has said that it has. */
  #busyUntil = 0;
  /** What it may still do, by row, where a save has failed. */
  readonly #uncertain = new Map<string, { readonly version: string; readonly until: number }>();

  constructor(parts: FlusherParts<T>, holder: Holder) {
    this.#parts = parts;
    this.#options = parts.options;
    this.#holder = holder;
    this.#batchSize = parts.options.maxBatch;
    this.#pollMs = Math.min(maxPollMs, Math.max(minPollMs, parts.options.flushAfterMs / pollsPerWait));
  }

  /** From now on what is due by then is due: on Redis' clock, in ms. */
  hurry(dueBy: number): void {
    this.#dueBy = dueBy;
  }

  /** Saves what is due, one batch. @returns how long to wait before the next step, in ms @throws CommandError */
  async step(): Promise<number> {
    const { commands, trust } = this.#parts.shared;
    const pausedMs = this.#pausedUntil - performance.now();
    if (pausedMs > 0) {
      // The source may refuse this server alone: another is to have its turn.
      await this.release();
      return Math.min(pausedMs, this.#lookAgainMs);
    }
    const epochAge = trust.epochAge(this.#holder.leaseMs);
    const claim = await claimRows(commands, this.#holder, { count: this.#batchSize, dueBy: this.#dueBy, epochAge });
    await trust.meet(claim.epoch);
    // Where nothing waits, what was held is held until it lapses.
    if (claim.outcome !== "idle") this.#isHeld = claim.outcome === "held";
    if (claim.outcome !== "held") return claim.outcome === "idle" ? this.#pollMs : this.#lookAgainMs;
    if (claim.rows.length === 0) return Math.min(Math.max(1, claim.nextDue - claim.time), this.#pollMs);
    await this.#parts.inTurn(() => this.#flush(claim.rows));
    return 0;
  }

  /** Lets another server take over at once, unless the source may be at a save still: the lease must outlive that. */
  async release(): Promise<void> {
    if (!this.#isHeld || performance.now() <= this.#busyUntil) return;
    this.#isHeld = false;
    await releaseLease(this.#parts.shared.commands, this.#holder);
  }

  /** A lease is renewed, or looked for, several times in its life. */
  get #lookAgainMs(): number {
    return this.#holder.leaseMs / 4;
  }

  async #flush(names: readonly string[]): Promise<void> {
    const sentAt = performance.now();
    const taken = await takeRows(this.#parts.shared.commands, this.#holder, { rows: names, maxBytes: maxBatchBytes });
    if (taken === "lost") return;
    const rows = await this.#certain(taken.rows);
    if (rows.length === 0 || this.#parts.signal.aborted) return;
    const now = performance.now();
    const { saveTimeoutMs } = this.#options;
    const deadline = Math.min(now + saveTimeoutMs, sentAt + this.#holder.leaseMs * (1 - clockDrift));
    // The event loop has stood still: what is left of the lease is no time to save in.
    if (deadline < now + saveTimeoutMs / 2) return;
    // Before it begins: what the source saves while this hangs does not tell that it is the row's fault.
    const lastSavedAt = this.#parts.lastSavedAt();
    this.#busyUntil = Math.max(this.#busyUntil, deadline);
    try {
      await this.#saveWithin(rows, deadline);
    } catch (error) {
      for (const { row, version } of rows) this.#uncertain.set(row, { version, until: deadline });
      await this.#putBack(rows, error, lastSavedAt);
      return;
    }
    this.#noteSaved(rows);
    await this.#settle(rows, taken.takenAt);
  }

  /**
   * Without the rows that have a newer value than one that the source may still save: a save that has thrown, because a connection
   * was lost for instance, may be done by its deadline all the same. Trying the same value again does no harm.
   */
  async #certain(rows: readonly TakenRow[]): Promise<TakenRow[]> {
    const now = performance.now();
    for (const [row, { until }] of this.#uncertain) if (until < now) this.#uncertain.delete(row);
    const waitMs = ({ row, version }: TakenRow) => {
      const uncertain = this.#uncertain.get(row);
      return uncertain === undefined || uncertain.version === version ? 0 : uncertain.until - now;
    };
    const certain = rows.filter((row) => waitMs(row) <= 0);
    const [first] = rows;
    if (first === undefined || certain.length > 0) return certain;
    const pauseMs = Math.ceil(Math.min(...rows.map(waitMs)));
    // One that has failed alone would keep the others waiting.
    if (rows.length === 1) await this.#failAlone(first, { savedAgoMs: -1, firstPauseMs: pauseMs, maxPauseMs: pauseMs });
    else this.#pausedUntil = now + pauseMs;
    return certain;
  }

  /** The save's own outcome, or an error at the deadline, which the source is to enforce too. */
  async #saveWithin(rows: readonly TakenRow[], deadline: number): Promise<void> {
    const { signal: closed, counts } = this.#parts;
    const late = new AbortController();
    const lateError = () => {
      const error = new CacheError("OUTCOME_UNKNOWN", "A batch was not saved within its deadline: it may still be.");
      late.abort(error);
      return error;
    };
    const batch = rows.map(({ row, version, text }) => ({
      id: idOfRow(row),
      value: decode<T>(text),
      version: Number(version),
    }));
    const startedAt = performance.now();
    const context = { deadline, signal: AbortSignal.any([late.signal, closed]) };
    const work = (async () => this.#options.save(batch, context))();
    const deadlineMs = Math.max(0, deadline - startedAt);
    try {
      await withDeadline(work, { deadlineMs, lateError, onLate: () => undefined });
    } catch (error) {
      // Whatever is left of it is to stop.
      late.abort(error);
      throw error;
    }
    counts.time("save", performance.now() - startedAt);
  }

  #noteSaved(rows: readonly TakenRow[]): void {
    this.#parts.counts.add("saves");
    this.#parts.counts.add("savedRows", rows.length);
    this.#parts.sourceSaved();
    this.#busyUntil = Math.max(0, ...[...this.#uncertain.values()].map(({ until }) => until));
    this.#failures = 0;
    this.#batchSize = Math.min(this.#options.maxBatch, this.#batchSize * 2);
  }

  async #settle(rows: readonly TakenRow[], takenAt: number): Promise<void> {
    const { flushAfterMs, reads } = this.#options;
    const living = rows.map((row) => {
      const ttlMs = isMissing(row.text) ? reads.missingMs : reads.ttlMs;
      return { ...row, lifeMs: lifeOf(ttlMs, reads.jitter, Math.random()) };
    });
    const { commands } = this.#parts.shared;
    const waited = await settleRows(commands, this.#holder, { rows: living, takenAt, flushAfterMs });
    // Whoever holds the lease saves them again.
    if (waited === "lost") return;
    for (const waitedMs of waited) if (waitedMs >= 0) this.#parts.counts.time("lag", waitedMs);
  }

  async #putBack(rows: readonly TakenRow[], error: unknown, lastSavedAt: number | undefined): Promise<void> {
    const { counts, tell } = this.#parts;
    if (this.#parts.signal.aborted) return;
    counts.add("failedSaves");
    tell({ type: "flush-failed", error });
    const [first] = rows;
    if (first === undefined || rows.length > 1) {
      this.#batchSize = Math.ceil(rows.length / 2);
      this.#pause(0);
      return;
    }
    this.#pause(this.#failures);
    this.#failures += 1;
    const savedAgoMs = lastSavedAt === undefined ? -1 : Math.floor(performance.now() - lastSavedAt);
    if ((await this.#failAlone(first, { savedAgoMs, firstPauseMs, maxPauseMs })) !== "dead") return;
    counts.add("deadLetters");
    tell({ type: "dead-letter", error });
  }

  #failAlone(row: TakenRow, times: { savedAgoMs: number; firstPauseMs: number; maxPauseMs: number }) {
    const { maxAttempts } = this.#options;
    return failRow(this.#parts.shared.commands, this.#holder, row, { ...times, maxAttempts });
  }

  /** With jitter: of several servers, and partitions, not all come back to the source in one moment. */
  #pause(doublings: number): void {
    const longestMs = Math.min(maxPauseMs, firstPauseMs * 2 ** doublings);
    this.#pausedUntil = performance.now() + longestMs * (0.5 + Math.random() / 2);
  }
}
