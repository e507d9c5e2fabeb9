import { withDeadline } from "@lockstep/redis-kit";
import { CatchUp } from "./catch-up.ts";
import { decode, encode, isMissing, sizeOf } from "./codec.ts";
import type { PendingWrite } from "./drivers/driver.ts";
import { CacheError, unavailable } from "./errors.ts";
import { lifeOf } from "./freshness.ts";
import type { EntryKeys, Keys } from "./keys.ts";
import type { WriteContext } from "./options.ts";
import { type CollectionParts, tellTooLarge } from "./parts.ts";
import { slicesOf } from "./slices.ts";

type Write<T> = (context: WriteContext) => Promise<T | undefined>;

/** The writes of one collection: begin, the caller's write, end (F9); and invalidation (F8). */
export class Writer<T, Id> {
  readonly #parts: CollectionParts<T, Id>;
  readonly #catchUp: CatchUp;

  constructor(parts: CollectionParts<T, Id>) {
    this.#parts = parts;
    const drop = (keys: readonly EntryKeys[]) => this.#drop(keys);
    this.#catchUp = new CatchUp({ drop }, (count) => {
      parts.counts.add("invalidations", count);
      parts.tell({ type: "caught-up" });
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
    const { counts } = this.#parts;
    const startedAt = performance.now();
    const deadline = this.#deadline();
    const pending = await this.#begin(keys, deadline);
    const beginMs = performance.now() - startedAt;
    if (pending === undefined) {
      const written = await this.#writeAlone(keys, write, deadline);
      counts.payoff.write(beginMs);
      return written;
    }
    // A write that throws has not ended for sure: the source may be at it still. Its token lapses, and until then its entry is
    // not cached. So is one that is late.
    const value = await this.#withinTime(keys, write, deadline);
    counts.add("updates");
    const endingAt = performance.now();
    const text = await this.#end(keys, pending, value);
    counts.payoff.write(beginMs + performance.now() - endingAt);
    return decode<T>(text);
  }

  async invalidate(keys: readonly EntryKeys[]): Promise<void> {
    const { counts } = this.#parts;
    const startedAt = performance.now();
    try {
      await this.#drop(keys);
      counts.add("invalidations", keys.length);
      counts.payoff.write(performance.now() - startedAt);
    } catch (error) {
      if (!this.#mayProceed(keys.length)) throw unavailable(error);
      for (const each of keys) this.#proceed(each);
    }
  }

  async clear(collection: Keys): Promise<void> {
    const { driver, replicas, counts, copies, others } = this.#parts;
    try {
      await driver.dropAll(collection);
      replicas?.avoidAll();
      counts.add("revokedCopies", copies?.revokeAll(collection.start) ?? 0);
      await others.drop({ start: collection.start }, this.#deadline());
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** @returns `undefined`: Redis is gone, and the write goes on without it */
  async #begin(keys: EntryKeys, deadline: number): Promise<PendingWrite | undefined> {
    try {
      const pending = await this.#tryBegin(keys, deadline);
      if (pending === "crowded") {
        throw new CacheError("OVERLOADED", "Too many writes of one entry are pending: this one was not begun.");
      }
      // The event loop may have stood still until the mark lapsed, and the source can't enforce what is over.
      if (performance.now() >= deadline) {
        throw new CacheError(
          "UNAVAILABLE",
          "The deadline of a write has passed while it was marked: it was not begun.",
        );
      }
      return pending;
    } catch (error) {
      this.#parts.counts.add("refusedUpdates");
      throw unavailable(error);
    }
  }

  async #tryBegin(keys: EntryKeys, deadline: number): Promise<PendingWrite | "crowded" | undefined> {
    try {
      for (;;) {
        const pending = await this.#beginOnce(keys, deadline);
        if (pending !== "superseded") return pending;
      }
    } catch (error) {
      if (!this.#mayProceed(1)) throw error;
      // Its place is taken at once: others who find room before it writes would find the same.
      this.#catchUp.add(keys);
      return undefined;
    }
  }

  /** @returns `superseded`: the group has begun anew meanwhile, and nobody knows who was asked */
  async #beginOnce(keys: EntryKeys, deadline: number): Promise<PendingWrite | "crowded" | "superseded"> {
    const { driver, rules, others } = this.#parts;
    const joining = await others.joining(deadline);
    const pending = await driver.begin(keys, rules);
    if (pending === "crowded") return pending;
    // C5: from here on nothing that this server reads becomes a copy, until the write is over.
    this.#revoke([keys]);
    let isRevoked = false;
    try {
      isRevoked = (await others.revoke(joining, { keys: [keys.entry] }, deadline)) === "revoked";
      return isRevoked ? pending : "superseded";
    } finally {
      // Nothing was written: without this the entry would not be cached until the token lapses.
      if (!isRevoked) await driver.end(pending, undefined, rules).catch(() => undefined);
    }
  }

  /** Without a mark. Its entry is owed from before the write, so that no read here gives the old value after the new one. */
  async #writeAlone(keys: EntryKeys, write: Write<T>, deadline: number): Promise<Readonly<T> | undefined> {
    this.#proceed(keys);
    try {
      const value = await this.#withinTime(keys, write, deadline);
      this.#parts.counts.add("updates");
      return decode<T>(encode(value, this.#parts.rules.revision));
    } finally {
      // Once more, also after a failure: Redis may have been back meanwhile, and the old value loaded again.
      this.#catchUp.add(keys);
    }
  }

  /** The write's own outcome, or `OUTCOME_UNKNOWN` at the deadline. The source is to enforce the deadline too. */
  async #withinTime(keys: EntryKeys, write: Write<T>, deadline: number): Promise<T | undefined> {
    const controller = new AbortController();
    const lateError = () => {
      const error = new CacheError("OUTCOME_UNKNOWN", "A write was not done within its deadline: it may still be.");
      controller.abort(error);
      this.#parts.counts.add("unknownOutcomes");
      this.#parts.tell({ type: "outcome-unknown" });
      return error;
    };
    const work = (async () => write({ deadline, signal: controller.signal }))();
    // Once it has settled after all, nothing that was loaded before that may stay.
    const onLate = () => {
      // Nobody is left who could try again, whatever is to be done while Redis is gone.
      this.#catchUp.add(keys);
    };
    return withDeadline(work, { deadlineMs: Math.max(0, deadline - performance.now()), lateError, onLate });
  }

  /** The write is done: whatever becomes of the cache, its caller is told so. */
  async #end(keys: EntryKeys, pending: PendingWrite, value: T | undefined): Promise<string> {
    const { driver, rules, options, tell } = this.#parts;
    let kept: { text: string; lifeMs: number } | undefined;
    try {
      const text = encode(value, rules.revision);
      // Nothing returned may mean that nothing is there any more, or that the write just does not say.
      if (options.writePolicy === "write-through" && !isMissing(text)) {
        if (sizeOf(text) > options.maxBytes) tellTooLarge(this.#parts);
        else kept = { text, lifeMs: lifeOf(options.ttlMs, options.jitter, Math.random()) };
      }
      return text;
    } finally {
      await driver.end(pending, kept, rules).then(
        async (outcome) => {
          if (outcome === "too-large") tellTooLarge(this.#parts);
          if (outcome !== "lapsed") return;
          tell({ type: "lapsed" });
          await this.#dropCopies(keys);
        },
        (error: unknown) => {
          // The token lapses; until then its entry is not cached.
          tell({ type: "store-failed", error });
        },
      );
    }
  }

  /** Nothing kept copies from being made of what was loaded since the mark was lost: they go as the entry has. */
  async #dropCopies(keys: EntryKeys): Promise<void> {
    this.#revoke([keys]);
    await this.#parts.others.drop({ keys: [keys.entry] }, this.#deadline()).catch(() => {
      // The write is done: what can't be told now is told later.
      this.#catchUp.add(keys);
    });
  }

  /** Whoever writes sees the new value on this server at once, however long a copy lives. */
  #revoke(keys: readonly EntryKeys[]): void {
    const { copies, counts, replicas } = this.#parts;
    replicas?.avoid(keys);
    if (copies) counts.add("revokedCopies", keys.filter(({ entry }) => copies.revoke(entry)).length);
  }

  async #drop(keys: readonly EntryKeys[]): Promise<void> {
    const { driver, others } = this.#parts;
    for (const some of slicesOf(keys)) {
      await driver.drop(some);
      this.#revoke(some);
      await others.drop({ keys: some.map(({ entry }) => entry) }, this.#deadline());
    }
  }

  #deadline(): number {
    return performance.now() + this.#parts.options.commitDeadlineMs;
  }

  #mayProceed(entries: number): boolean {
    return this.#parts.options.onUnavailable === "proceed" && this.#catchUp.hasRoomFor(entries);
  }

  #proceed(keys: EntryKeys): void {
    this.#parts.counts.add("proceeded");
    this.#parts.tell({ type: "proceeded" });
    this.#revoke([keys]);
    this.#catchUp.add(keys);
  }
}
