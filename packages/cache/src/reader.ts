import { decode, encode, isMissing, sizeOf } from "./codec.ts";
import type { Reservation } from "@lockstep/redis-kit";
import type { Tier } from "./counts.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { CacheError, unavailable } from "./errors.ts";
import type { ReadReply } from "./drivers/driver.ts";
import { Fills } from "./fills.ts";
import { extensionAt } from "./freshness.ts";
import type { EntryKeys } from "./keys.ts";
import type { ReaderParts } from "./parts.ts";
import { Refusals } from "./refusals.ts";
import { maxAtOnce, slicesOf } from "./slices.ts";
import { SourceLoads } from "./source-loads.ts";

/** A value, and the tier that gave it. */
export interface Lookup<T> {
  /** `undefined`: the source has no such value. Deeply frozen, since others may be handed the same. */
  readonly value: Readonly<T> | undefined;
  /** `"near"`: a copy in this process. `"shared"`: an entry. `"source"`: loaded, by this call or one that it shared. */
  readonly from: Tier;
  /** Present where its life is over: it is being refreshed (`"stale"`), or the source has failed to (`"grace"`). */
  readonly expired?: "stale" | "grace";
}

type ExpiredReply = Extract<ReadReply, { outcome: "expired" }>;

/** How long who waits for another's load sleeps between two looks, at first and at most. */
const firstPauseMs = 2;
const longestPauseMs = 50;

/** One id that somebody is reading. */
interface Read<T, Id> extends Deferred<Lookup<T>> {
  readonly keys: EntryKeys;
  readonly id: Id;
  /** When it, or the first of those that share it, met another's load. */
  waitingSince: number | undefined;
  hasWaited: boolean;
  pauseMs: number;
  /** What is served if the source fails. */
  grace: Lookup<T> | undefined;
  /** Whether an old value was served, so that only the entry waits for the source. */
  isServed: boolean;
  /** Of a copy, while it is under way. */
  reservation: Reservation | undefined;
}

/**
 * The reads of one collection: cache-aside (F1), fenced (F2), one load for all servers (F3), expired values while they are
 * refreshed or if that fails (F5), near copies (F6), the source alone if need be (F7).
 */
export class Reader<T, Id> {
  readonly #parts: ReaderParts<T, Id>;
  readonly #source: SourceLoads<T, Id>;
  readonly #fills: Fills<T, Id>;
  readonly #refusals: Refusals;
  /** The reads of this tick, by entry. C6: all that came before it is sent may share one. */
  #tick = new Map<string, Read<T, Id>>();
  /** The loads of this process that will be stored, by entry: those who wait for one are woken by it. */
  readonly #filling = new Map<string, Promise<unknown>>();
  /** The reads that wait for another's load, one for each entry: see {@link Reader.#wait}. */
  readonly #waiting = new Map<string, Read<T, Id>>();

  constructor(parts: ReaderParts<T, Id>) {
    this.#parts = parts;
    this.#source = new SourceLoads(parts.options, parts.counts);
    this.#fills = new Fills(parts);
    this.#refusals = new Refusals(parts.tell);
  }

  /** Reads one value. Fails because of the shared tier only where that is the truth. @throws {@link CacheError} @throws what the loader throws */
  read(keys: EntryKeys, id: Id): Promise<Lookup<T>> {
    const hit = this.readCopy(keys.entry, performance.now());
    if (hit !== undefined) return Promise.resolve(hit);
    const { counts } = this.#parts;
    const shared = this.#tick.get(keys.entry);
    if (shared !== undefined) {
      counts.add("coalesced");
      return shared.promise;
    }
    // By name: spreading an object costs as much as all the rest of a hit in this process.
    const { promise, resolve, reject } = deferred<Lookup<T>>();
    const later = {
      waitingSince: undefined,
      hasWaited: false,
      pauseMs: firstPauseMs,
      grace: undefined,
      isServed: false,
    };
    this.#enqueue({ promise, resolve, reject, keys, id, reservation: undefined, ...later });
    return promise;
  }

  /** A copy of this process, if it has one that may be served now. */
  readCopy(entry: string, now: number): Lookup<T> | undefined {
    const { copies, lease, counts } = this.#parts;
    const copy = copies?.get(entry, now);
    // C1: in the step in which it is given away.
    if (copy === undefined || (lease !== undefined && !lease.mayServe(now))) return undefined;
    counts.add("nearHits");
    return { value: copy.value as Readonly<T> | undefined, from: "near" };
  }

  /** Reads one value from the source, whatever the cache has. */
  async readPast(keys: EntryKeys, id: Id, why: "uncached" | "unavailable" = "uncached"): Promise<Lookup<T>> {
    this.#parts.counts.add(why);
    return { value: decode<T>(await this.#load(keys, id)), from: "source" };
  }

  async #load(keys: EntryKeys, id: Id): Promise<string> {
    return encode(await this.#source.load(keys.entry, id), this.#parts.rules.revision);
  }

  #enqueue(read: Read<T, Id>): void {
    // Behind the microtasks that are due: callers that wake from one promise ask together.
    if (this.#tick.size === 0) queueMicrotask(() => process.nextTick(() => this.#send()));
    this.#tick.set(read.keys.entry, read);
  }

  #send(): void {
    const reads = [...this.#tick.values()];
    this.#tick = new Map();
    if (reads.length <= maxAtOnce) void this.#sendSome(reads);
    else void this.#sendInSlices(reads);
  }

  async #sendInSlices(reads: readonly Read<T, Id>[]): Promise<void> {
    for (const some of slicesOf(reads)) await this.#sendSome(some);
  }

  /** @returns settled, and never rejected, when all are answered */
  #sendSome(reads: readonly Read<T, Id>[]): Promise<unknown> {
    const { copies, replicas, rules } = this.#parts;
    const sentAt = performance.now();
    // What an earlier look found may have been replaced since, and who came meanwhile shares this one.
    for (const read of reads) read.grace = undefined;
    if (copies) for (const read of reads) read.reservation = copies.reserve(read.keys.entry);
    const { direct, answers } = replicas?.read(reads, rules) ?? { direct: reads, answers: [] };
    const asked = this.#ask(direct);
    if (answers.length === 0) return asked;
    const answered = answers.map(async (answer) => {
      const { hits, rest } = await answer;
      for (const { read, reply } of hits) this.#hit(read, reply, sentAt);
      await this.#ask(rest);
    });
    return Promise.all([asked, ...answered]);
  }

  /** Asks the shared tier itself; in Redis, the primary. */
  #ask(reads: readonly Read<T, Id>[]): Promise<unknown> {
    const { driver, rules, counts } = this.#parts;
    const sentAt = performance.now();
    const groups = driver.read(reads, rules).map(({ items, replies }) =>
      replies.then(
        (all) => {
          counts.time("shared", performance.now() - sentAt);
          items.forEach((read, index) => {
            this.#answer(read, all[index] ?? { outcome: "pending" }, sentAt);
          });
        },
        (error: unknown) => {
          if (!this.#parts.isSharedTruth) this.#refusals.note(error);
          for (const read of items) {
            this.#release(read);
            if (this.#parts.isSharedTruth) read.reject(unavailable(error));
            else void this.#pass(read, "unavailable");
          }
        },
      ),
    );
    return Promise.all(groups);
  }

  #answer(read: Read<T, Id>, reply: ReadReply, sentAt: number): void {
    if (reply.outcome === "hit") {
      this.#hit(read, reply, sentAt);
      return;
    }
    this.#release(read);
    switch (reply.outcome) {
      case "expired":
        this.#answerExpired(read, reply);
        return;
      case "fill":
        this.#parts.counts.add("misses");
        this.#fill(read, reply.token);
        return;
      case "busy":
        this.#wait(read);
        return;
      case "unkept":
      case "pending":
      case "young":
      case "full":
        void this.#pass(read);
    }
  }

  #hit(read: Read<T, Id>, reply: Extract<ReadReply, { outcome: "hit" }>, sentAt: number): void {
    const { counts, copies, options, lease } = this.#parts;
    const { text, leftMs = Infinity, epoch } = reply;
    const value = this.#decoded(read, text);
    if (value === undefined) return;
    read.resolve({ value: value.it, from: "shared" });
    counts.add("hits");
    if (isMissing(text)) counts.add("missingHits");
    // C9.
    if (lease && (epoch === undefined || !lease.mayKeep(epoch))) this.#release(read);
    if (!copies || !read.reservation) return;
    // C10: from the sending on, since it may have been written anew since it was read.
    const endsAt = sentAt + Math.min(options.copyMs, leftMs);
    const onEvicted = () => {
      counts.add("evictedCopies");
    };
    copies.keep(read.reservation, { value: value.it, bytes: Math.max(1, sizeOf(text)), endsAt, onEvicted });
    read.reservation = undefined;
  }

  /** @returns `undefined`: it can't be read, and the source is asked, unless it may lack what was accepted */
  #decoded(read: Read<T, Id>, text: string): { it: Readonly<T> | undefined } | undefined {
    try {
      return { it: decode<T>(text) };
    } catch (error) {
      // Not written by any version of this package.
      this.#parts.tell({ type: "corrupt", error });
      this.#release(read);
      if (this.#parts.isSharedTruth)
        read.reject(new CacheError("INVALID_VALUE", "An entry can't be read.", { cause: error }));
      else void this.#pass(read);
      return undefined;
    }
  }

  #release(read: Read<T, Id>): void {
    if (read.reservation) this.#parts.copies?.release(read.reservation);
    read.reservation = undefined;
  }

  #answerExpired(read: Read<T, Id>, { text, overdueMs, refresh }: ExpiredReply): void {
    const old = this.#decoded(read, text);
    if (old === undefined) return;
    const { mayBeStale, mayBeGrace } = extensionAt(overdueMs, this.#parts.options);
    if (mayBeGrace) read.grace = { value: old.it, from: "shared", expired: "grace" };
    if (mayBeStale) {
      this.#parts.counts.add("staleServed");
      read.isServed = true;
      read.resolve({ value: old.it, from: "shared", expired: "stale" });
    }
    if (typeof refresh === "object") this.#fill(read, refresh.token);
    else if (mayBeStale) return;
    else if (refresh === "running") this.#wait(read);
    else if (read.grace) this.#serveGrace(read, read.grace);
    else void this.#pass(read);
  }

  #serveGrace(read: Read<T, Id>, grace: Lookup<T>): void {
    this.#parts.counts.add("graceServed");
    read.resolve(grace);
  }

  async #pass(read: Read<T, Id>, why?: "unavailable"): Promise<void> {
    await this.readPast(read.keys, read.id, why).then(read.resolve, (error: unknown) => {
      this.#fail(read, error);
    });
  }

  #fail(read: Read<T, Id>, error: unknown): void {
    if (read.isServed || read.grace) this.#parts.tell({ type: "refresh-failed", error });
    if (read.isServed) return;
    if (read.grace) this.#serveGrace(read, read.grace);
    else read.reject(error);
  }

  #fill(read: Read<T, Id>, token: string): void {
    const { entry } = read.keys;
    const done = this.#load(read.keys, read.id).then(
      (text) => {
        this.#fills.keep(entry, token, text);
        read.resolve({ value: decode<T>(text), from: "source" });
      },
      (error: unknown) => {
        this.#fills.giveUp(entry, token);
        this.#fail(read, error);
      },
    );
    this.#filling.set(entry, done);
    void done.finally(() => {
      if (this.#filling.get(entry) === done) this.#filling.delete(entry);
    });
  }

  /** Another caller or server loads it: its entry is looked for again and again, until waiting costs more than loading. */
  #wait(read: Read<T, Id>): void {
    const now = performance.now();
    if (!read.hasWaited) this.#parts.counts.add("waited");
    read.hasWaited = true;
    read.waitingSince ??= now;
    // Long enough for one loader to die and the next to load.
    if (now - read.waitingSince > 2 * this.#parts.rules.tokenLifeMs) {
      void this.#pass(read);
      return;
    }
    const { entry } = read.keys;
    // C6: it came before the next look is sent, so it may share that.
    const other = this.#waiting.get(entry);
    if (other !== undefined) {
      this.#follow(read, other);
      return;
    }
    this.#waiting.set(entry, read);
    const again = () => {
      if (this.#waiting.get(entry) !== read) return;
      this.#waiting.delete(entry);
      clearTimeout(timer);
      const shared = this.#tick.get(entry);
      if (shared === undefined) this.#enqueue(read);
      else this.#follow(read, shared);
    };
    const timer = setTimeout(again, read.pauseMs);
    read.pauseMs = Math.min(longestPauseMs, read.pauseMs * 2);
    void this.#filling.get(entry)?.finally(again);
  }

  #follow(read: Read<T, Id>, other: Read<T, Id>): void {
    // Who came later must not lengthen the wait of who came first.
    other.waitingSince = Math.min(other.waitingSince ?? Infinity, read.waitingSince ?? Infinity);
    other.promise.then(read.resolve, (error: unknown) => {
      this.#fail(read, error);
    });
  }
}
