import { setImmediate as nextTurn } from "node:timers/promises";
import { encode, sizeOf } from "../codec.ts";
import { Counts, type Latency } from "../counts.ts";
import { CacheError } from "../errors.ts";
import { type EventOfCollection, tell } from "../events.ts";
import { type PartitionKeys, type QueueKeys, type RowKeys, createQueueKeys } from "../keys.ts";
import { entryRulesOf } from "../parts.ts";
import { type Lookup, Reader } from "../reader.ts";
import { type Backlog, BacklogView, type DeadLetter } from "./backlog.ts";
import { type WriteBehindCounts, type WriteBehindTime, WriteCounts } from "./counts.ts";
import { drainPartition } from "./drain.ts";
import { Flusher } from "./flusher.ts";
import type { ResolvedWriteBehindOptions } from "./options.ts";
import { type AcceptedWrite, Queue } from "./queue.ts";
import type { Shared } from "./shared.ts";
import { QueueTier } from "./tier.ts";

/** How often an increment looks for a number that was loaded for it, and is gone again. */
const maxTries = 8;

/**
 * A small table, id → value, whose writes are accepted by Redis and saved in the source later, many at a time. What was
 * accepted and is not saved yet is in Redis alone, which is the truth: reads and writes fail while it can't be asked.
 */
export interface WriteBehindCollection<T> {
  /** What each of its entries is; part of their keys. */
  readonly type: string;

  /**
   * The last accepted value of an id, or what the source has. All reads of one tick share one trip to Redis and one `loadMany`.
   *
   * @returns the value as JSON carries it, deeply frozen; `undefined`: there is none
   * @throws {@link CacheError} `UNAVAILABLE`, `UNSAFE_REDIS`, `OVERLOADED`, `LOAD_TIMEOUT`, `INVALID_ID`, `INVALID_VALUE` (also of an
   * entry that can't be read)
   * @throws what the loader throws
   */
  get(id: string): Promise<Readonly<T> | undefined>;

  /** The same, and which tier answered. @throws as {@link WriteBehindCollection.get} */
  lookup(id: string): Promise<Lookup<T>>;

  /** {@link WriteBehindCollection.get} for several ids, in their order. @throws as that, for the first that fails */
  getMany(ids: readonly string[]): Promise<(Readonly<T> | undefined)[]>;

  /** The same, and which tier answered. @throws as {@link WriteBehindCollection.get}, for the first that fails */
  lookupMany(ids: readonly string[]): Promise<Lookup<T>[]>;

  /**
   * Accepts a value; `undefined`: there is none any more. Once it returns, all servers read it, and it will be saved,
   * whichever server dies.
   *
   * @throws {@link CacheError} `UNAVAILABLE`, `UNSAFE_REDIS`, `OVERLOADED` (too many rows wait), `INVALID_ID`, `INVALID_VALUE` (JSON can't
   * carry it, or it is larger than `maxBytes`): nothing is stored; `OUTCOME_UNKNOWN`: it may be
   */
  set(id: string, value: T | undefined): Promise<void>;

  /**
   * Adds to a number, and counts once, whatever a lost connection makes the client send again. An id that has no value counts from 0.
   * A number that is not in Redis is loaded first, and must live there until it is incremented, a trip later: with lives of a few
   * milliseconds that may fail, with `UNAVAILABLE`.
   *
   * @param by a safe integer; default 1
   * @returns the new number
   * @throws as {@link WriteBehindCollection.set}; `INVALID_VALUE` also if the value is no number, or it or the new one no safe
   * integer @throws what the loader throws, where the number must be loaded
   */
  increment(this: WriteBehindCollection<number>, id: string, by?: number): Promise<number>;

  /** How much waits to be saved, on all servers. @throws {@link CacheError} `UNAVAILABLE` */
  backlog(): Promise<Backlog>;

  /**
   * Rows that failed too often while the source saved others. Their values are kept and read, and not saved until somebody
   * writes them again or calls {@link WriteBehindCollection.retryDeadLetters}.
   *
   * @param limit how many to tell of; default 100
   * @throws {@link CacheError} `UNAVAILABLE`
   */
  deadLetters(limit?: number): Promise<DeadLetter[]>;

  /**
   * Gives dead letters up: their values are gone, and what the source has is read again. Ids that are none are left alone.
   *
   * @returns how many were given up @throws {@link CacheError} `UNAVAILABLE`: some may be; `INVALID_ID`
   */
  discardDeadLetters(ids: readonly string[]): Promise<number>;

  /** Has all dead letters tried again. @returns how many @throws {@link CacheError} `UNAVAILABLE`: some may be */
  retryDeadLetters(): Promise<number>;

  /**
   * Has saved at once what was accepted before this call, by whichever server holds it, as far as the source and the time allow. For
   * shutdown: what is left is saved by another server, or the next that starts.
   *
   * @param options `timeoutMs`: how long it may take
   * @returns how many rows are left; dead letters are not counted
   * @throws {@link CacheError} `UNAVAILABLE`: nobody knows how many @throws TypeError for a time that can't be meant
   */
  drain(options: { readonly timeoutMs: number }): Promise<number>;

  /** What happened here since this process started. */
  counts(): WriteBehindCounts;

  /** How long the trips to Redis, loads and saves of this process took, and how long rows waited. */
  latency(): Readonly<Record<WriteBehindTime, Latency>>;
}

/** A write-behind collection and what its cache does with it. */
export class OpenWriteBehindCollection<T> implements WriteBehindCollection<T> {
  readonly type: string;
  readonly #shared: Shared;
  readonly #options: ResolvedWriteBehindOptions<T>;
  readonly #keys: QueueKeys;
  readonly #reads: Counts;
  readonly #writes = new WriteCounts();
  readonly #reader: Reader<T, string>;
  readonly #queue: Queue;
  readonly #view: BacklogView;
  readonly #flusher: Flusher<T>;

  constructor(shared: Shared, names: { cache: string; type: string }, options: ResolvedWriteBehindOptions<T>) {
    this.type = names.type;
    this.#shared = shared;
    this.#options = options;
    this.#keys = createQueueKeys(names.cache, names.type);
    this.#reads = new Counts(names);
    const tellAll = (event: EventOfCollection) => {
      tell(shared.onEvent, { ...event, collection: names.type });
    };
    this.#reader = new Reader({
      driver: new QueueTier(shared),
      isSharedTruth: true,
      rules: entryRulesOf(options.reads, false),
      options: options.reads,
      copies: undefined,
      lease: undefined,
      replicas: undefined,
      counts: this.#reads,
      tell: tellAll,
    });
    this.#queue = new Queue(shared, this.#keys, options);
    this.#view = new BacklogView(shared, this.#keys);
    this.#flusher = new Flusher(this.#keys, { shared, options, counts: this.#writes, tell: tellAll });
  }

  async get(id: string): Promise<Readonly<T> | undefined> {
    return (await this.lookup(id)).value;
  }

  async lookup(id: string): Promise<Lookup<T>> {
    return this.#reader.read(this.#keysOf(id), id);
  }

  async getMany(ids: readonly string[]): Promise<(Readonly<T> | undefined)[]> {
    return (await this.lookupMany(ids)).map(({ value }) => value);
  }

  async lookupMany(ids: readonly string[]): Promise<Lookup<T>[]> {
    return Promise.all(ids.map((id) => this.lookup(id)));
  }

  async set(id: string, value: T | undefined): Promise<void> {
    const keys = this.#keysOf(id);
    const { revision, maxBytes } = this.#options.reads;
    const text = encode(value, revision);
    if (sizeOf(text) > maxBytes) {
      throw new CacheError("INVALID_VALUE", `A value is larger than ${maxBytes} bytes of JSON: it was not accepted.`);
    }
    await this.#accept(keys, () => this.#queue.set(keys, text));
  }

  async increment(id: string, by = 1): Promise<number> {
    const keys = this.#keysOf(id);
    if (!Number.isSafeInteger(by)) {
      throw new CacheError("INVALID_VALUE", "What a number is incremented by must be a safe integer.");
    }
    const change = { by, revision: this.#options.reads.revision };
    for (let tries = 0; tries < maxTries; tries += 1) {
      const accepted = await this.#accept(keys, () => this.#queue.increment(keys, change));
      if (accepted !== "absent") return Number(accepted.text);
      await this.#reader.read(keys, id);
      // Behind the fill, which leaves when this turn of the event loop ends.
      await nextTurn();
    }
    this.#writes.add("refusedWrites");
    throw new CacheError(
      "UNAVAILABLE",
      "A number was loaded again and again, and could not be kept to be incremented.",
    );
  }

  backlog(): Promise<Backlog> {
    return this.#view.backlog();
  }

  deadLetters(limit = 100): Promise<DeadLetter[]> {
    return this.#view.deadLetters(limit);
  }

  async retryDeadLetters(): Promise<number> {
    try {
      return await this.#view.retryDeadLetters();
    } finally {
      for (const partition of this.#keys.partitions) this.#flusher.due(partition, 0);
    }
  }

  async discardDeadLetters(ids: readonly string[]): Promise<number> {
    return this.#view.discardDeadLetters(ids.map((id) => this.#keysOf(id)));
  }

  async drain({ timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
    if (!(timeoutMs >= 0)) throw new TypeError("Lockstep cache: timeoutMs must be a number of milliseconds.");
    const onHurried = (partition: PartitionKeys) => {
      this.#flusher.due(partition, 0);
    };
    const drain = { shared: this.#shared, options: this.#options, timeoutMs, onHurried };
    const left = await Promise.all(this.#keys.partitions.map((partition) => drainPartition(drain, partition)));
    return left.reduce((sum, rows) => sum + rows, 0);
  }

  counts(): WriteBehindCounts {
    return { ...this.#reads.counts(), ...this.#writes.counts };
  }

  latency(): Readonly<Record<WriteBehindTime, Latency>> {
    const { latency } = this.#writes;
    return { shared: this.#reads.latency("shared"), source: this.#reads.latency("source"), ...latency };
  }

  close(): void {
    this.#flusher.close();
  }

  async #accept<A extends AcceptedWrite | "absent">({ partition }: RowKeys, write: () => Promise<A>): Promise<A> {
    try {
      const accepted = await write();
      if (accepted === "absent") return accepted;
      this.#writes.add("accepted");
      if (accepted.isCoalesced) this.#writes.add("coalescedWrites");
      else this.#flusher.due(partition, this.#options.flushAfterMs);
      return accepted;
    } catch (error) {
      if (error instanceof CacheError && error.code === "OUTCOME_UNKNOWN") this.#reads.add("unknownOutcomes");
      else this.#writes.add("refusedWrites");
      throw error;
    }
  }

  #keysOf(id: string): RowKeys {
    // Whoever calls from JavaScript is not held back by the types.
    if (typeof (id as unknown) === "string") return this.#keys.of(id);
    throw new CacheError("INVALID_ID", `Ids of collection "${this.type}" must be strings.`);
  }
}
