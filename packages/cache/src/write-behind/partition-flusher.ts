import { CommandError } from "@lockstep/redis-kit";
import { isMissing } from "../codec.ts";
import { lifeOf } from "../freshness.ts";
import type { PartitionKeys } from "../keys.ts";
import { clockDrift } from "../options.ts";
import {
  type Holder,
  type TakenRow,
  claimRows,
  failRow,
  releaseLease,
  settleRows,
  takeRows,
} from "../flush-scripts.ts";
import type { FlusherParts } from "./flusher-parts.ts";
import { type ResolvedWriteBehindOptions, longestPauseMs } from "./options.ts";
import { saveBatch } from "./save-batch.ts";
import { UncertainSaves } from "./uncertain-saves.ts";

/** How long to wait after a batch that could not be saved, or that Redis has refused to hand out, at first and at most. */
const firstPauseMs = 100;

/** How long to wait where Redis does not answer: a breaker bounds what that costs. */
const unansweredPauseMs = 250;

/** A batch is no larger than this, unless one row is. */
const maxBatchBytes = 4_194_304;

/** How often rows that wait are looked at: a fraction of the time that they wait, within these bounds. */
const pollsPerWait = 4;
const minPollMs = 10;
const maxPollMs = 250;

/** How often at least rows are looked for that no write of this server has told of: what a server that died has left. */
const maxIdleMs = 5_000;

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
  /** How often Redis has refused a script in a row, and until when it is left alone. */
  #refusals = 0;
  #askAgainAt = 0;
  #isHeld = false;
  /** Until when the source may still do what a save was to: until its deadline, unless it has said that it has. */
  #busyUntil = 0;
  readonly #uncertain = new UncertainSaves();

  constructor(parts: FlusherParts<T>, holder: Holder) {
    this.#parts = parts;
    this.#options = parts.options;
    this.#holder = holder;
    this.#batchSize = parts.options.maxBatch;
    this.#pollMs = Math.min(maxPollMs, Math.max(minPollMs, parts.options.flushAfterMs / pollsPerWait));
  }

  /** Whose rows. */
  get partition(): PartitionKeys {
    return this.#holder.partition;
  }

  /** Saves what is due, one batch. @returns how long to wait before the next step, in ms */
  async step(): Promise<number> {
    const waitMs = this.#askAgainAt - performance.now();
    if (waitMs > 0) return waitMs;
    try {
      const pauseMs = await this.#saveDue();
      this.#refusals = 0;
      return pauseMs;
    } catch (error) {
      return this.#noteUnasked(error);
    }
  }

  /** @throws CommandError */
  async #saveDue(): Promise<number> {
    const { commands, trust } = this.#parts.shared;
    const pausedMs = this.#pausedUntil - performance.now();
    if (pausedMs > 0) {
      // The source may refuse this server alone: another is to have its turn.
      await this.release();
      return Math.min(pausedMs, this.#lookAgainMs);
    }
    const { leaseMs } = this.#holder;
    const isDone = performance.now() > this.#busyUntil;
    const { longestWaitMs } = this.#options;
    const epochAge = trust.epochAge(leaseMs);
    const claim = await claimRows(commands, this.#holder, { count: this.#batchSize, longestWaitMs, epochAge, isDone });
    await trust.meet(claim.epoch);
    // Where nothing waits the lease is given back, unless a save may be under way: then what was held is held until it lapses.
    if (claim.outcome !== "idle" || isDone) this.#isHeld = claim.outcome === "held";
    if (claim.outcome !== "held") return claim.outcome === "idle" ? Math.min(leaseMs, maxIdleMs) : this.#lookAgainMs;
    if (claim.rows.length === 0) return Math.min(Math.max(1, claim.nextDue - claim.time), this.#pollMs);
    await this.#parts.inTurn(() => this.#flush(claim.rows));
    return 0;
  }

  /** @returns how long to leave Redis alone, whoever wakes this */
  #noteUnasked(error: unknown): number {
    // Of an outage the breaker tells.
    const isOutage = error instanceof CommandError && error.failure !== "refused";
    const pauseMs = isOutage ? unansweredPauseMs : pauseAfter(this.#refusals);
    if (!isOutage) this.#refusals += 1;
    if (!isOutage && !this.#parts.signal.aborted) this.#parts.failed(error);
    this.#askAgainAt = performance.now() + pauseMs;
    return pauseMs;
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
    const taken = await this.#take(names);
    if (taken === "lost") return;
    const rows = await this.#certain(taken.rows);
    if (rows.length === 0 || this.#parts.signal.aborted) return;
    const now = performance.now();
    const { saveTimeoutMs } = this.#options;
    const deadline = Math.min(now + saveTimeoutMs, sentAt + this.#holder.leaseMs * (1 - clockDrift));
    // The event loop has stood still: what is left of the lease is no time to save in.
    if (deadline < now + saveTimeoutMs / 2) return;
    // Before it begins: what the source saves while this hangs does not tell that it is the row's fault.
    const savedAt = this.#savedAtOnRedis(taken);
    this.#busyUntil = Math.max(this.#busyUntil, deadline);
    try {
      await saveBatch(this.#options.save, rows, { deadline, closed: this.#parts.signal });
    } catch (error) {
      this.#uncertain.add(rows, deadline);
      await this.#putBack(rows, error, savedAt);
      return;
    }
    this.#parts.counts.time("save", performance.now() - now);
    this.#noteSaved(rows);
    await this.#shrinkingIfUnanswered(rows.length, this.#settle(rows, taken.takenAt));
  }

  async #take(names: readonly string[]) {
    const { counts, tell, shared } = this.#parts;
    const work = takeRows(shared.commands, this.#holder, { rows: names, maxBytes: maxBatchBytes });
    const taken = await this.#shrinkingIfUnanswered(names.length, work);
    if (taken === "lost") return taken;
    if (taken.vanished > 0) {
      counts.add("lostRows", taken.vanished);
      tell({ type: "rows-lost" });
    }
    return { ...taken, answeredAt: performance.now() };
  }

  /** A batch may be too large to cross the network in a command's time: a smaller one is not. */
  async #shrinkingIfUnanswered<R>(size: number, work: Promise<R>): Promise<R> {
    try {
      return await work;
    } catch (error) {
      this.#batchSize = Math.ceil(size / 2);
      throw error;
    }
  }

  /** When the source has saved another at the latest, in ms on Redis' clock, not later than it was; -1: it has not. */
  #savedAtOnRedis({ takenAt, answeredAt }: { takenAt: number; answeredAt: number }): number {
    const lastSavedAt = this.#parts.lastSavedAt();
    return lastSavedAt === undefined ? -1 : Math.floor(takenAt - (answeredAt - lastSavedAt));
  }

  /** Without the rows that have a newer value than one that the source may still save. */
  async #certain(rows: readonly TakenRow[]): Promise<TakenRow[]> {
    const waiting = rows.map((row) => ({ row, waitMs: this.#uncertain.waitMs(row) }));
    const certain = waiting.filter(({ waitMs }) => waitMs <= 0).map(({ row }) => row);
    const [first] = rows;
    if (first === undefined || certain.length > 0) return certain;
    const pauseMs = Math.ceil(Math.min(...waiting.map(({ waitMs }) => waitMs)));
    // One that has failed alone would keep the others waiting.
    if (rows.length === 1) await this.#failAlone(first, { savedAt: -1, firstPauseMs: pauseMs, maxPauseMs: pauseMs });
    else this.#pausedUntil = performance.now() + pauseMs;
    return certain;
  }

  #noteSaved(rows: readonly TakenRow[]): void {
    this.#parts.counts.add("saves");
    this.#parts.counts.add("savedRows", rows.length);
    this.#parts.sourceSaved();
    this.#busyUntil = this.#uncertain.until;
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

  async #putBack(rows: readonly TakenRow[], error: unknown, savedAt: number): Promise<void> {
    const { counts, tell, failed, signal } = this.#parts;
    if (signal.aborted) return;
    counts.add("failedSaves");
    failed(error);
    const [first] = rows;
    if (first === undefined || rows.length > 1) {
      this.#batchSize = Math.ceil(rows.length / 2);
      this.#pause(0);
      return;
    }
    this.#pause(this.#failures);
    this.#failures += 1;
    const maxPauseMs = longestPauseMs;
    if ((await this.#failAlone(first, { savedAt, firstPauseMs, maxPauseMs })) !== "dead") return;
    counts.add("deadLetters");
    tell({ type: "dead-letter", error });
  }

  #failAlone(row: TakenRow, times: { savedAt: number; firstPauseMs: number; maxPauseMs: number }) {
    const { maxAttempts } = this.#options;
    return failRow(this.#parts.shared.commands, this.#holder, row, { ...times, maxAttempts });
  }

  #pause(doublings: number): void {
    this.#pausedUntil = performance.now() + pauseAfter(doublings);
  }
}

/** With jitter: of several servers, and partitions, not all come back to the source in one moment. */
function pauseAfter(doublings: number): number {
  return Math.min(longestPauseMs, firstPauseMs * 2 ** doublings) * (0.5 + Math.random() / 2);
}
