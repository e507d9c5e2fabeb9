import { CorruptRecord } from "./codec.ts";
import type { Events, LifecycleEvent } from "./events.ts";
import { holdsRecord, isForward, readForward } from "./forward.ts";
import type { Keys } from "./keys.ts";
import { type ResolvedOptions, tombstoneMs } from "./options.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { RecordReply } from "./scripts.ts";
import type { Row, UserIndex } from "./user-index.ts";

/** Why a session ends, for the events. */
export type Why = Pick<LifecycleEvent, "reason" | "by">;

/**
 * Ends sessions: the record first, then its row in the index, so that what lives is always in it (S3, S8).
 *
 * Only the record says whose row that is, and what it was may never be heard: the answer is lost, or the client sends the
 * script again by itself and hears that there is none. So where an index is kept the record is looked at first, and the
 * empty text that it becomes stays until a sweep has looked at the row, and can't take the session for an expired one.
 */
export class Destruction {
  readonly #options: ResolvedOptions;
  readonly #keys: Keys;
  readonly #records: Records;
  readonly #heads: RecordHeads;
  readonly #index: UserIndex;
  readonly #events: Events;

  constructor(
    options: ResolvedOptions,
    parts: { keys: Keys; records: Records; heads: RecordHeads; index: UserIndex; events: Events },
  ) {
    this.#options = options;
    this.#keys = parts.keys;
    this.#records = parts.records;
    this.#heads = parts.heads;
    this.#index = parts.index;
    this.#events = parts.events;
  }

  /**
   * Ends the session whose record has this key, and what it has gone on as.
   *
   * @param id its id, where that is known. Without it the forward to a new id can't be followed; whoever ends sessions by the
   * index finds the new one there.
   * @returns whether a session has ended by this, or at the same moment by somebody else
   */
  async end(key: string, why: Why, id?: string): Promise<boolean> {
    const event: LifecycleEvent = { type: "destroyed", handle: this.#keys.handleOf(key), ...why };
    const seen = this.#options.userOf && (await this.#records.peek(key));
    const alsoMs = this.#rowLifeMs(seen, key);
    const destroy = (whole: boolean) => this.#records.destroy(key, event, { whole, alsoMs });
    let raw = (await destroy(id === undefined)) ?? seen?.raw;
    let hasEnded = false;
    if (id !== undefined && raw && isForward(raw)) {
      hasEnded = await this.#endSuccessor(raw, id, why);
      // Last: if what comes before fails, or its answer is lost, who tries again still finds the way.
      raw = (await destroy(true)) ?? raw;
    }
    if (!raw || !holdsRecord(raw)) return hasEnded;
    this.#events.report(event);
    const user = this.#heads.userOf(raw, key);
    if (user !== undefined) await this.#removeRow({ user, key }, why);
    return true;
  }

  /** What was to replace it never will, whether or not the server lives that wrote it; nobody else can end it. */
  async #removeRow(row: Row, why: Why): Promise<void> {
    const { drafts } = await this.#index.remove(row);
    for (const { key } of drafts) await this.end(key, why);
  }

  /** How long from now the row of a record may be there before a sweep has looked at it, if nobody takes it away. */
  #rowLifeMs(seen: RecordReply | undefined, key: string): number {
    if (seen?.remainingMs === undefined) return 0;
    // Ended before: it is remembered for as long as it was.
    if (seen.raw === "") return Math.max(0, seen.remainingMs - tombstoneMs(this.#options));
    const isIndexed = holdsRecord(seen.raw) && this.#heads.ownerOf(seen.raw, key) != null;
    return isIndexed ? seen.remainingMs + this.#options.sweepMs : 0;
  }

  /** Ends what a session goes on as, unless that is somebody else's by now: who knew an id before a sign-in may not end that. */
  async #endSuccessor(raw: string, id: string, why: Why): Promise<boolean> {
    const forward = readForward(raw, id);
    if (forward === undefined || forward.kind === "moved") return false;
    const successor = await this.#records.load(forward.id).catch(unlessCorrupt);
    if (!successor || this.#heads.userOf(successor.raw, successor.key) !== (forward.user ?? undefined)) return false;
    return this.endNamed(forward.id, why);
  }

  /** Ends a session wherever its record may be. @returns whether one has ended by this */
  async endNamed(idOrHandle: string, why: Why): Promise<boolean> {
    let hasEnded = false;
    for (const key of this.#keys.recordsNamed(idOrHandle)) {
      if (await this.end(key, why, idOrHandle)) hasEnded = true;
    }
    return hasEnded;
  }
}

function unlessCorrupt(error: unknown): undefined {
  if (!(error instanceof CorruptRecord)) throw error;
}
