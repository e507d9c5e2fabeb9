import { type BreakerState, CircuitBreaker, Copies, DurableWrites, type Near, type Writer } from "@lockstep/redis-kit";
import { type Collection, OpenCollection } from "./collection.ts";
import { breaker, type Driver } from "./drivers/driver.ts";
import { dangerToQueue } from "./drivers/epochs.ts";
import { MemcachedServers } from "./drivers/memcached-servers.ts";
import { MemcachedDriver } from "./drivers/memcached.ts";
import { MemoryItems } from "./drivers/memory-items.ts";
import { MemoryDriver } from "./drivers/memory.ts";
import { RedisDriver } from "./drivers/redis.ts";
import { createTokens } from "./drivers/tokens.ts";
import { Trust } from "./drivers/trust.ts";
import { unavailable } from "./errors.ts";
import { type OnEvent, tell } from "./events.ts";
import { claimKey } from "./keys.ts";
import {
  type CacheOptions,
  type CollectionOptions,
  type ResolvedCacheOptions,
  resolveCacheOptions,
  resolveCollectionOptions,
} from "./options.ts";
import type { PayoffReport } from "./payoff.ts";
import { Replicas } from "./replicas.ts";
import { Sweep } from "./sweep.ts";
import type { Backlog } from "./write-behind/backlog.ts";
import { OpenWriteBehindCollection, type WriteBehindCollection } from "./write-behind/collection.ts";
import { type WriteBehindOptions, resolveWriteBehindOptions } from "./write-behind/options.ts";
import type { Shared } from "./write-behind/shared.ts";

/** What can be asked of any open collection. */
export interface OpenedCollection extends Pick<Collection<unknown, never>, "type" | "counts" | "latency"> {
  /** Whether the cache pays; write-behind collections do not know. */
  report?(): PayoffReport;
  /** How much waits to be saved, on all servers; only write-behind collections know. @throws {@link CacheError} `UNAVAILABLE` */
  backlog?(): Promise<Backlog>;
}

/** A cache that several servers share in one Redis, or in Memcached servers. */
export interface Cache {
  /** What each of its keys starts with. */
  readonly name: string;

  /**
   * Opens a collection whose writes are accepted by Redis and saved in the source later.
   *
   * @param type what its values are; part of their keys
   * @throws TypeError if an option can't be meant, or the type is open already
   */
  collection<T>(type: string, options: WriteBehindOptions<T>): WriteBehindCollection<T>;

  /**
   * Opens a collection.
   *
   * @param type what its values are; part of their keys
   * @throws TypeError if an option can't be meant, or the type is open already
   */
  collection<T, Id = string>(type: string, options: CollectionOptions<T, Id>): Collection<T, Id>;

  /** The open collections. */
  collections(): readonly OpenedCollection[];

  /**
   * Looks whether Redis, or each Memcached server, can be used. Calling it at start is optional: a mistake in its configuration shows then, where
   * otherwise nothing would be cached and updates would be refused.
   *
   * @throws {@link CacheError} `UNSAFE_REDIS`, `UNAVAILABLE`; `UNSUPPORTED`: a Memcached was started without CAS
   */
  ready(): Promise<void>;

  /** Ends what runs in the background. The client is the caller's to close. */
  close(): void;
}

/**
 * Creates a cache on the caller's client. It needs a Redis of version 7 or newer whose eviction policy is no `allkeys-*`, or
 * Memcached servers with CAS, as they are by default.
 *
 * @throws TypeError if an option can't be meant
 */
export function createCache(options: CacheOptions): Cache {
  return new OpenCache(resolveCacheOptions(options));
}

class OpenCache implements Cache {
  readonly name: string;
  readonly #onEvent: OnEvent;
  readonly #driver: Driver;
  readonly #replicas: Replicas | undefined;
  readonly #copies: Copies;
  readonly #near: Near | undefined;
  readonly #endNear: () => void;
  readonly #durable: DurableWrites | undefined;
  /** What write-behind collections share; only Redis can have any. */
  readonly #queues: Shared | undefined;
  readonly #open = new Map<string, OpenedCollection & { close(): void }>();
  readonly #sweep: Sweep;

  constructor(options: ResolvedCacheOptions) {
    this.name = options.name;
    this.#onEvent = options.onEvent;
    this.#driver = openDriver(options);
    this.#replicas = openReplicas(options);
    this.#copies = new Copies({ maxEntries: options.maxCopies, maxBytes: options.maxCopyBytes });
    this.#near = options.near;
    this.#endNear = openNear(options, this.#copies);
    if (this.#driver instanceof RedisDriver) {
      const { durability, deadlineMs } = options;
      this.#durable = durability && new DurableWrites(this.#driver.client, durability, { deadlineMs });
      this.#queues = openQueues(this.#driver, this.#durable, options);
    }
    this.#sweep = new Sweep(this.#driver, options.onEvent);
  }

  collection<T>(type: string, options: WriteBehindOptions<T>): WriteBehindCollection<T>;
  collection<T, Id>(type: string, options: CollectionOptions<T, Id>): Collection<T, Id>;
  collection(type: string, options: WriteBehindOptions<unknown> | CollectionOptions<unknown, unknown>): unknown {
    if (this.#open.has(type)) throw new TypeError(`Lockstep cache: the collection "${type}" is open already.`);
    const opened =
      options.writePolicy === "write-behind" ? this.#openWriteBehind(type, options) : this.#openEntries(type, options);
    this.#open.set(type, opened);
    return opened;
  }

  collections() {
    return [...this.#open.values()];
  }

  async ready(): Promise<void> {
    const hasQueues = this.collections().some((each) => each instanceof OpenWriteBehindCollection);
    await Promise.all([this.#driver.ready(), hasQueues && this.#queues?.trust.ready()]).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  close(): void {
    this.#sweep.close();
    this.#endNear();
    for (const collection of this.collections()) collection.close();
    this.#durable?.close();
    this.#driver.close();
  }

  #openEntries<T, Id>(type: string, options: CollectionOptions<T, Id>) {
    const shared = {
      driver: this.#driver,
      copies: this.#copies,
      near: this.#near,
      replicas: this.#replicas,
      onEvent: this.#onEvent,
    };
    return new OpenCollection(shared, { cache: this.name, type }, resolveCollectionOptions(type, options));
  }

  #openWriteBehind<T>(type: string, options: WriteBehindOptions<T>) {
    if (!this.#queues) throw new TypeError('Lockstep cache: writePolicy "write-behind" needs a Redis.');
    const resolved = resolveWriteBehindOptions(type, options);
    return new OpenWriteBehindCollection(this.#queues, { cache: this.name, type }, resolved);
  }
}

/** @returns ends what it has begun */
function openNear({ near, name }: ResolvedCacheOptions, copies: Copies): () => void {
  if (near === undefined) return () => undefined;
  const ends = [near.hold(copies), near.claim(claimKey(name))];
  return () => {
    for (const end of ends) end();
    copies.close();
  };
}

function openDriver(options: ResolvedCacheOptions): Driver {
  const { tier } = options;
  if (tier instanceof MemcachedServers) return new MemcachedDriver(tier, options);
  return tier instanceof MemoryItems ? new MemoryDriver(tier) : new RedisDriver(tier, options, options.near);
}

function openReplicas({ tier, replicas, ...options }: ResolvedCacheOptions): Replicas | undefined {
  if (replicas === undefined || tier instanceof MemcachedServers || tier instanceof MemoryItems) return undefined;
  return new Replicas({ client: tier, replicas }, options);
}

/** Through the driver's own circuit breaker: it is one Redis. */
function openQueues(
  { client, commands }: RedisDriver,
  durable: DurableWrites | undefined,
  { deadlineMs, onEvent }: ResolvedCacheOptions,
): Shared {
  const trust = new Trust({ client, commands }, { dangerOf: dangerToQueue, onEvent });
  const onChange = (state: BreakerState) => {
    tell(onEvent, { type: "durability-breaker", state });
  };
  const writes = durable ? new CircuitBreaker<Writer>(durable, { ...breaker, onChange }) : commands;
  return { client, commands, writes, deadlineMs, trust, newToken: createTokens(), onEvent };
}
