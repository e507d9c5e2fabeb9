import { decode, encode, isMissing, sizeOf } from "./codec.ts";
import type { Counts, Tier } from "./counts.ts";
import { type Deferred, deferred } from "./deferred.ts";
import type { Entries } from "./entries.ts";
import type { CollectionEvent } from "./events.ts";
import type { EntryKeys } from "./keys.ts";
import type { ResolvedCollectionOptions } from "./options.ts";
import type { Fill, ReadReply } from "./scripts.ts";
import { SourceLoads } from "./source-loads.ts";

/** A value, and the tier that gave it. */
export interface Lookup<T> {
  /** `undefined`: the source has no such value. Deeply frozen, since others may be handed the same. */
  readonly value: Readonly<T> | undefined;
  /** `"redis"`: an entry. `"source"`: loaded, by this call or one that it shared. */
  readonly from: Tier;
}

/** How much longer than a load its token lives: the time to send the result. */
const storeMarginMs = 250;

/** How long who waits for another's load sleeps between two looks, at first and at most. */
const firstPauseMs = 2;
const longestPauseMs = 50;

/** One id that somebody is reading. */
interface Read<T, Id> extends Deferred<Lookup<T>> {
  readonly keys: EntryKeys;
  readonly id: Id;
  /** When it first met another's load. */
  waitingSince: number | undefined;
  pauseMs: number;
}

/** The reads of one collection: cache-aside (F1), fenced (F2), one load for all servers (F3), the source alone if need be (F7). */
export class Reader<T, Id> {
  readonly #entries: Entries;
  readonly #options: ResolvedCollectionOptions<T, Id>;
  readonly #counts: Counts;
  readonly #tell: (event: Omit<CollectionEvent, "collection">) => void;
  readonly #source: SourceLoads<T, Id>;
  /** The reads of this tick, by entry. C6: all that came before it is sent may share one. */
  #tick = new Map<string, Read<T, Id>>();
  /** The loads of this process that will be stored, by entry: those who wait for one are woken by it. */
  readonly #filling = new Map<string, Promise<unknown>>();
  /** The reads that wait for another's load, one for each entry: see {@link Reader.#wait}. */
  readonly #waiting = new Map<string, Read<T, Id>>();
  #fills: Fill[] = [];
  readonly #tokenLifeMs: number;

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
    this.#source = new SourceLoads(options, counts);
    this.#tokenLifeMs = options.loadTimeoutMs + storeMarginMs;
  }

  /** Reads one value. Never fails because of Redis. @throws {@link CacheError} @throws what the loader throws */
  read(keys: EntryKeys, id: Id): Promise<Lookup<T>> {
    const shared = this.#tick.get(keys.entry);
    if (shared !== undefined) {
      this.#counts.add("coalesced");
      return shared.promise;
    }
    // By name: spreading an object costs as much as all the rest of a hit in this process.
    const { promise, resolve, reject } = deferred<Lookup<T>>();
    const read = { promise, resolve, reject, keys, id, waitingSince: undefined, pauseMs: firstPauseMs };
    this.#enqueue(read);
    return read.promise;
  }

  /** Reads one value from the source, whatever the cache has. */
  async readPast(keys: EntryKeys, id: Id, why: "uncached" | "withoutRedis" = "uncached"): Promise<Lookup<T>> {
    this.#counts.add(why);
    return { value: decode<T>(encode(await this.#source.load(keys.entry, id))), from: "source" };
  }

  #enqueue(read: Read<T, Id>): void {
    // Behind the microtasks that are due: callers that wake from one promise ask together.
    if (this.#tick.size === 0) queueMicrotask(() => process.nextTick(() => this.#send()));
    this.#tick.set(read.keys.entry, read);
  }

  #send(): void {
    const reads = [...this.#tick.values()];
    this.#tick = new Map();
    const { pendingMs } = this.#options;
    const sentAt = performance.now();
    for (const { items, replies } of this.#entries.read(reads, { tokenLifeMs: this.#tokenLifeMs, pendingMs })) {
      replies.then(
        (all) => {
          this.#counts.time("redis", performance.now() - sentAt);
          items.forEach((read, index) => {
            this.#answer(read, all[index] ?? { outcome: "pending" });
          });
        },
        () => {
          for (const read of items) void this.#pass(read, "withoutRedis");
        },
      );
    }
  }

  #answer(read: Read<T, Id>, reply: ReadReply): void {
    switch (reply.outcome) {
      case "hit":
        this.#hit(read, reply.text);
        return;
      case "fill":
        this.#counts.add("misses");
        this.#fill(read, reply.token);
        return;
      case "busy":
        this.#wait(read);
        return;
      case "pending":
      case "young":
      case "full":
        void this.#pass(read);
    }
  }

  #hit(read: Read<T, Id>, text: string): void {
    try {
      read.resolve({ value: decode<T>(text), from: "redis" });
      this.#counts.add("hits");
      if (isMissing(text)) this.#counts.add("missingHits");
    } catch (error) {
      // Not written by any version of this package.
      this.#tell({ type: "corrupt", error });
      void this.#pass(read);
    }
  }

  async #pass(read: Read<T, Id>, why?: "withoutRedis"): Promise<void> {
    await this.readPast(read.keys, read.id, why).then(read.resolve, read.reject);
  }

  #fill(read: Read<T, Id>, token: string): void {
    const { entry } = read.keys;
    const load = this.#source.load(entry, read.id).then((value) => encode(value));
    const done = load.then(
      (text) => {
        this.#keep(entry, token, text);
        read.resolve({ value: decode<T>(text), from: "source" });
      },
      (error: unknown) => {
        // F3: whoever waits for this load takes over at once.
        this.#store({ key: entry, token, lifeMs: 0 });
        read.reject(error);
      },
    );
    this.#filling.set(entry, done);
    void done.finally(() => {
      if (this.#filling.get(entry) === done) this.#filling.delete(entry);
    });
  }

  #keep(key: string, token: string, text: string): void {
    const { maxBytes, ttlMs, missingMs } = this.#options;
    if (sizeOf(text) > maxBytes) {
      this.#counts.add("tooLarge");
      this.#tell({ type: "too-large" });
      this.#store({ key, token, lifeMs: 0 });
      return;
    }
    this.#store({ key, token, text, lifeMs: isMissing(text) ? missingMs : ttlMs });
  }

  /** All fills of one tick in one trip. Nobody waits for it: the reads that follow on this connection come after it. */
  #store(fill: Fill): void {
    if (this.#fills.push(fill) > 1) return;
    process.nextTick(() => {
      const fills = this.#fills;
      this.#fills = [];
      this.#entries.store(fills).then(
        (results) => {
          for (const { outcome } of results) {
            if (outcome === "stored") this.#counts.add("fills");
            if (outcome === "refused") this.#counts.add("refusedFills");
          }
        },
        (error: unknown) => {
          // Its token lapses; until then others wait for it.
          this.#tell({ type: "store-failed", error });
        },
      );
    });
  }

  /** Another caller or server loads it: its entry is looked for again and again, until waiting costs more than loading. */
  #wait(read: Read<T, Id>): void {
    const now = performance.now();
    if (read.waitingSince === undefined) this.#counts.add("waited");
    read.waitingSince ??= now;
    // Long enough for one loader to die and the next to load.
    if (now - read.waitingSince > 2 * this.#tokenLifeMs) {
      void this.#pass(read);
      return;
    }
    const { entry } = read.keys;
    // C6: it came before the next look is sent, so it may share that.
    const other = this.#waiting.get(entry);
    if (other !== undefined) {
      read.resolve(other.promise);
      return;
    }
    this.#waiting.set(entry, read);
    const again = () => {
      if (this.#waiting.get(entry) !== read) return;
      this.#waiting.delete(entry);
      clearTimeout(timer);
      const shared = this.#tick.get(entry);
      if (shared === undefined) this.#enqueue(read);
      else read.resolve(shared.promise);
    };
    const timer = setTimeout(again, read.pauseMs);
    read.pauseMs = Math.min(longestPauseMs, read.pauseMs * 2);
    void this.#filling.get(entry)?.finally(again);
  }
}
