import type { Copies, Near } from "@lockstep/redis-kit";
import { type CollectionCounts, Counts, type Latency, type TripTier } from "./counts.ts";
import type { Driver } from "./drivers/driver.ts";
import { CacheError } from "./errors.ts";
import { type EventOfCollection, type OnEvent, tell } from "./events.ts";
import { type EntryKeys, createKeys } from "./keys.ts";
import { type ResolvedCollectionOptions, type WriteContext, checkAgainstNear } from "./options.ts";
import { Observer } from "./observer.ts";
import { Others } from "./others.ts";
import { type CollectionParts, entryRulesOf } from "./parts.ts";
import { payoffOf, type PayoffReport } from "./payoff.ts";
import { type Lookup, Reader } from "./reader.ts";
import { ReplicaReads, type Replicas } from "./replicas.ts";
import { Writer } from "./writer.ts";

/** A small table, id → value, in front of a source. All servers that open the same one share its entries. */
export interface Collection<T, Id = string> {
  /** What each of its entries is; part of their keys. */
  readonly type: string;

  /**
   * The value of an id, or `undefined` if the source has none. All reads of one tick share one trip to Redis (128 to
   * a script, 512 at a time) and one `loadMany` (of up to 500). It never fails because of Redis: the source is asked instead, at most `maxSourceConcurrency` at a time.
   *
   * @returns the value as JSON carries it, deeply frozen
   * @throws {@link CacheError} `OVERLOADED`, `LOAD_TIMEOUT`, `INVALID_ID`, `INVALID_VALUE`
   * @throws what the loader throws
   */
  get(id: Id): Promise<Readonly<T> | undefined>;

  /** The same, and which tier answered. @throws as {@link Collection.get} */
  lookup(id: Id): Promise<Lookup<T>>;

  /** {@link Collection.lookup} for several ids, in their order. @throws as {@link Collection.get}, for the first that fails */
  lookupMany(ids: readonly Id[]): Promise<Lookup<T>[]>;

  /** The same, values alone. @throws as {@link Collection.get}, for the first that fails */
  getMany(ids: readonly Id[]): Promise<(Readonly<T> | undefined)[]>;

  /**
   * Changes a value in the source so that no server serves the old one once this returns, nor at any time after somebody
   * has seen the new one; with `coherence: "bounded"` other servers may for `copyMs`, and from a replica `maxLagMs`. A crash at any
   * moment leaves nothing stale.
   *
   * If `write` throws, that is thrown, and for up to `pendingMs` the value is read from the source, uncached: the source may
   * have done the write all the same. Check what can be checked before.
   *
   * @param write changes the source, by its deadline, and returns the new value; after `undefined` the next read loads it
   * @returns what `write` returned, as JSON carries it, deeply frozen
   * @throws {@link CacheError} `UNAVAILABLE`, `UNSAFE_REDIS`, `UNSUPPORTED`, `OVERLOADED`: the write has not run; `OUTCOME_UNKNOWN`: it may
   * have; `INVALID_VALUE`: it has, and what it returned can't be cached
   */
  update(id: Id, write: (context: WriteContext) => Promise<T | undefined>): Promise<Readonly<T> | undefined>;

  /**
   * Makes all servers forget a value that was changed past this cache, as {@link Collection.update} does. Call it after that change is done.
   *
   * @throws {@link CacheError} `UNAVAILABLE`: the old value may still be served, and calling it again is safe; `UNSUPPORTED`: a Memcached without CAS
   */
  invalidate(id: Id): Promise<void>;

  /** The same for several ids. @throws as {@link Collection.invalidate} */
  invalidateMany(ids: readonly Id[]): Promise<void>;

  /**
   * Makes all servers forget all values. It walks all keys of Redis, in batches: for deployments, not for requests.
   *
   * @throws {@link CacheError} `UNAVAILABLE`: part of them may be left; `UNSUPPORTED`: Memcached can't list its keys
   */
  clear(): Promise<void>;

  /** What happened here since this process started. */
  counts(): CollectionCounts;

  /**
   * How far replicas were behind when they answered, at the most: the time since the newest moment of which they were known to have
   * all. Answers that were too far behind count too, at least as far as is known.
   */
  replicaLag(): Latency;

  /** How long the trips to Redis, and the loads, of this process took. */
  latency(): Readonly<Record<TripTier, Latency>>;

  /** Whether this cache pays, by what the callers of this process have waited for since it started. */
  report(): PayoffReport;
}

/** What `typeof` says of ids that are their own text. */
const plainIds: ReadonlySet<string> = new Set(["string", "number", "bigint"]);

/** A collection and what its cache does with it. */
export class OpenCollection<T, Id> implements Collection<T, Id> {
  readonly type: string;
  readonly #key: (id: Id) => string;
  readonly #keys: ReturnType<typeof createKeys>;
  readonly #counts: Counts;
  readonly #reader: Reader<T, Id>;
  readonly #writer: Writer<T, Id>;
  readonly #observer: Observer<T, Id> | undefined;
  /** Whether it has near copies that are strict. */
  readonly #hasNear: boolean;
  /** Whether a copy, if there is one, is all that a read takes. */
  readonly #hasQuickHits: boolean;

  constructor(
    shared: {
      readonly driver: Driver;
      readonly copies: Copies;
      readonly near: Near | undefined;
      readonly replicas: Replicas | undefined;
      readonly onEvent: OnEvent;
    },
    names: { cache: string; type: string },
    options: ResolvedCollectionOptions<T, Id>,
  ) {
    this.type = names.type;
    this.#key = options.key;
    this.#keys = createKeys(names.cache, names.type);
    this.#counts = new Counts(names);
    const tellOfIt = (event: EventOfCollection) => {
      tell(shared.onEvent, { ...event, collection: names.type });
    };
    const { near } = shared;
    const isStrict = options.coherence === "strict";
    if (near && isStrict) checkAgainstNear(near, options);
    const keepsCopies = !isStrict || near?.copies === true;
    const parts: CollectionParts<T, Id> = {
      driver: shared.driver,
      rules: entryRulesOf(options, keepsCopies),
      options,
      copies: keepsCopies ? shared.copies : undefined,
      lease: isStrict ? near : undefined,
      others: new Others(near, options.coherence, (ms) => {
        this.#counts.payoff.revocation(ms);
      }),
      replicas: this.#replicaReads(shared.replicas, { maxLagMs: options.maxLagMs, tell: tellOfIt }),
      counts: this.#counts,
      tell: tellOfIt,
    };
    this.#reader = new Reader(parts);
    this.#writer = new Writer(parts);
    this.#hasNear = isStrict && keepsCopies;
    this.#observer = options.observe && new Observer(parts, options.observe);
    this.#hasQuickHits = keepsCopies && options.key === (String as unknown) && !options.observe;
  }

  async get(id: Id): Promise<Readonly<T> | undefined> {
    const startedAt = performance.now();
    return (this.#hit(id, startedAt) ?? (await this.#lookUp(id, startedAt))).value;
  }

  async lookup(id: Id): Promise<Lookup<T>> {
    const startedAt = performance.now();
    return this.#hit(id, startedAt) ?? this.#lookUp(id, startedAt);
  }

  /** A near hit, with as little around it as can be: two promises more would take as long as all the rest. */
  #hit(id: Id, startedAt: number): Lookup<T> | undefined {
    if (!this.#hasQuickHits || !this.#isPlain(id)) return undefined;
    const hit = this.#reader.readCopy(this.#keys.entryOf(String(id)), startedAt);
    if (hit === undefined) return undefined;
    this.#counts.payoff.nearHit(startedAt);
    return hit;
  }

  async #lookUp(id: Id, startedAt: number): Promise<Lookup<T>> {
    const { payoff } = this.#counts;
    try {
      const found = await this.#find(id);
      payoff.read(1, performance.now() - startedAt);
      payoff.answered(found.from);
      return found;
    } catch (error) {
      payoff.failedRead(1);
      throw error;
    }
  }

  async lookupMany(ids: readonly Id[]): Promise<Lookup<T>[]> {
    const { payoff } = this.#counts;
    const startedAt = performance.now();
    try {
      const found = await Promise.all(ids.map(async (id) => this.#find(id)));
      if (ids.length > 0) payoff.read(ids.length, performance.now() - startedAt);
      for (const { from } of found) payoff.answered(from);
      return found;
    } catch (error) {
      payoff.failedRead(ids.length);
      throw error;
    }
  }

  async getMany(ids: readonly Id[]): Promise<(Readonly<T> | undefined)[]> {
    return (await this.lookupMany(ids)).map(({ value }) => value);
  }

  async update(id: Id, write: (context: WriteContext) => Promise<T | undefined>): Promise<Readonly<T> | undefined> {
    return this.#writer.update(this.#keysOf(id), write);
  }

  async invalidate(id: Id): Promise<void> {
    await this.#writer.invalidate([this.#keysOf(id)]);
  }

  async invalidateMany(ids: readonly Id[]): Promise<void> {
    await this.#writer.invalidate(ids.map((id) => this.#keysOf(id)));
  }

  async clear(): Promise<void> {
    await this.#writer.clear(this.#keys);
  }

  counts(): CollectionCounts {
    return this.#counts.counts();
  }

  latency(): Readonly<Record<TripTier, Latency>> {
    return { shared: this.#counts.latency("shared"), source: this.#counts.latency("source") };
  }

  report(): PayoffReport {
    const { count, meanMs } = this.#counts.latency("shared");
    const measured = this.#counts.payoff.measured(count === 0 ? null : meanMs);
    return payoffOf(measured, { hasNear: this.#hasNear });
  }

  replicaLag(): Latency {
    return this.#counts.replicaLag();
  }

  close(): void {
    this.#writer.close();
  }

  #find(id: Id): Promise<Lookup<T>> {
    const keys = this.#keysOf(id);
    const found = this.#writer.owes(keys) ? this.#reader.readPast(keys, id) : this.#reader.read(keys, id);
    const observer = this.#observer;
    // Whoever asked is told of a failure.
    if (observer) found.then((lookup) => observer.see(keys, id, lookup)).catch(() => undefined);
    return found;
  }

  /** @throws TypeError if the collection is to be read from replicas, and the cache has none */
  #replicaReads(
    replicas: Replicas | undefined,
    options: { maxLagMs: number; tell: (event: EventOfCollection) => void },
  ): ReplicaReads | undefined {
    if (options.maxLagMs === 0) return undefined;
    if (replicas === undefined)
      throw new TypeError('Lockstep cache: readFrom "replica" needs the cache\'s "replicas".');
    return new ReplicaReads(replicas, { ...options, counts: this.#counts });
  }

  /** Without a key function all objects would be one "[object Object]", and an id left out "undefined". */
  #isPlain(id: Id): boolean {
    return plainIds.has(typeof id);
  }

  #keysOf(id: Id): EntryKeys {
    if (this.#key === (String as unknown) && !this.#isPlain(id)) {
      throw invalidId(`Ids of collection "${this.type}" must be strings or numbers, or need a "key".`);
    }
    const text: unknown = this.#key(id);
    if (typeof text !== "string") throw invalidId(`The "key" of collection "${this.type}" must return a string.`);
    return this.#keys.of(text);
  }
}

function invalidId(message: string): CacheError {
  return new CacheError("INVALID_ID", message);
}
