import { withDeadline } from "@lockstep/redis-kit";
import { CatchUp } from "./catch-up.ts";
import { decode, encode, isMissing } from "./codec.ts";
import type { Counts } from "./counts.ts";
import type { Entries, PendingWrite } from "./entries.ts";
import { CacheError, unavailable } from "./errors.ts";
import type { CollectionEvent } from "./events.ts";
import type { EntryKeys, Keys } from "./keys.ts";
import type { ResolvedCollectionOptions, WriteContext } from "./options.ts";

type Write<T> = (context: WriteContext) => Promise<T | undefined>;

/** The writes of one collection: begin, the caller's write, end (F9); and invalidation (F8). */
export class Writer<T, Id> {
  readonly #entries: Entries;
  readonly #options: ResolvedCollectionOptions<T, Id>;
  readonly #counts: Counts;
  readonly #tell: (event: Omit<CollectionEvent, "collection">) => void;
  readonly #catchUp: CatchUp;

  constructor(
    entries: Entries,
    options: ResolvedCollectionOptions<T, Id>,
    counts: Counts,
    tellOf: (event: Omit<CollectionEvent, "collection">) => void,
  ) {
    this.#entries = entries;
    this.#options = options;
    this.#counts = counts;
    this.#tell = tellOf;
    this.#catchUp = new CatchUp(entries, (count) => {
      counts.add("invalidations", count);
      tellOf({ type: "caught-up" });
    });
  }

  /** Whether an entry may be old: it changed while Redis was gone. */
  owes(keys: EntryKeys): boolean {
    return this.#catchUp.owes(keys);
  }

  close(): void {
    this.#catchUp.close();
  }

  async update(keys: EntryKeys, write: Write<T>): Promise<Readonly<T> | undefined> {
    const beganAt = performance.now();
    const pending = await this.#begin(keys);
    // A write that throws has not ended for sure: the source may be at it still. Its token lapses, and until then its entry is
    // not cached. So is one that is late.
    const value = await this.#withinTime(keys, write, beganAt + this.#options.commitDeadlineMs);
    this.#counts.add("updates");
    if (pending === undefined) {
      this.#proceed(keys);
      return decode<T>(encode(value));
    }
    return decode<T>(await this.#end(pending, value));
  }

  async invalidate(keys: readonly EntryKeys[]): Promise<void> {
    try {
      await this.#entries.drop(keys);
      this.#counts.add("invalidations", keys.length);
    } catch (error) {
      if (!this.#mayProceed()) throw unavailable(error);
      for (const each of keys) this.#proceed(each);
    }
  }

  async clear(collection: Keys): Promise<void> {
    try {
      await this.#entries.dropAll(collection);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** @returns `undefined`: Redis is gone, and the write goes on without it */
  async #begin(keys: EntryKeys): Promise<PendingWrite | undefined> {
    let pending: PendingWrite | "crowded";
    try {
      pending = await this.#entries.begin(keys, this.#options.pendingMs);
    } catch (error) {
      if (this.#mayProceed()) return undefined;
      this.#counts.add("refusedUpdates");
      throw unavailable(error);
    }
    if (pending !== "crowded") return pending;
    this.#counts.add("refusedUpdates");
    throw new CacheError("OVERLOADED", "Too many writes of one entry are pending: this one was not begun.");
  }

  /** The write's own outcome, or `OUTCOME_UNKNOWN` at the deadline. The source is to enforce the deadline too. */
  async #withinTime(keys: EntryKeys, write: Write<T>, deadline: number): Promise<T | undefined> {
    const controller = new AbortController();
    const lateError = () => {
      const error = new CacheError("OUTCOME_UNKNOWN", "A write was not done within its deadline: it may still be.");
      controller.abort(error);
      this.#counts.add("unknownOutcomes");
      this.#tell({ type: "outcome-unknown" });
      return error;
    };
    const work = (async () => write({ deadline, signal: controller.signal }))();
    // Once it has settled after all, nothing that was loaded before that may stay.
    const onLate = () => void this.invalidate([keys]).catch(() => this.#tell({ type: "store-failed" }));
    return withDeadline(work, { deadlineMs: Math.max(0, deadline - performance.now()), lateError, onLate });
  }

  /** The write is done: whatever becomes of the cache, its caller is told so. */
  async #end(pending: PendingWrite, value: T | undefined): Promise<string> {
    const { writePolicy, ttlMs, missingMs, maxBytes } = this.#options;
    let text: string | undefined;
    let kept: string | undefined;
    try {
      text = encode(value);
      const isTooLarge = Buffer.byteLength(text) > maxBytes;
      if (isTooLarge) this.#tell({ type: "too-large" });
      if (writePolicy === "write-through" && !isTooLarge) kept = text;
    } finally {
      const lifeMs = text !== undefined && isMissing(text) ? missingMs : ttlMs;
      await this.#entries.end(pending, { ...(kept !== undefined && { text: kept }), lifeMs }).then(
        (outcome) => {
          if (outcome === "lapsed") this.#tell({ type: "lapsed" });
        },
        (error: unknown) => {
          // The token lapses; until then its entry is not cached.
          this.#tell({ type: "store-failed", error });
        },
      );
    }
    return text;
  }

  #mayProceed(): boolean {
    return this.#options.onUnavailable === "proceed" && this.#catchUp.hasRoom;
  }

  #proceed(keys: EntryKeys): void {
    this.#counts.add("proceeded");
    this.#tell({ type: "proceeded" });
    this.#catchUp.add(keys);
  }
}
