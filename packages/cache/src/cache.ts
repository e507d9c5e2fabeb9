import { setTimeout as pause } from "node:timers/promises";
import { type Collection, OpenCollection } from "./collection.ts";
import { Copies } from "./copies.ts";
import type { Driver } from "./drivers/driver.ts";
import { MemcachedServers } from "./drivers/memcached-servers.ts";
import { MemcachedDriver } from "./drivers/memcached.ts";
import { MemoryItems } from "./drivers/memory-items.ts";
import { MemoryDriver } from "./drivers/memory.ts";
import { RedisDriver } from "./drivers/redis.ts";
import { unavailable } from "./errors.ts";
import { tell } from "./events.ts";
import {
  type CacheOptions,
  type CollectionOptions,
  type ResolvedCacheOptions,
  resolveCacheOptions,
  resolveCollectionOptions,
} from "./options.ts";
import { Replicas } from "./replicas.ts";

/** How often marks of dead writers are looked for, and the pause after each batch of keys. */
const sweepEveryMs = 60_000;
const sweepPauseMs = 100;

/** A cache that several servers share in one Redis, or in Memcached servers. */
export interface Cache {
  /** What each of its keys starts with. */
  readonly name: string;

  /**
   * Opens a collection.
   *
   * @param type what its values are; part of their keys
   * @throws TypeError if an option can't be meant, or the type is open already
   */
  collection<T, Id = string>(type: string, options: CollectionOptions<T, Id>): Collection<T, Id>;

  /** The open collections. */
  collections(): readonly Pick<Collection<unknown, never>, "type" | "counts" | "latency" | "report">[];

  /**
   * Looks whether Redis can be used. Calling it at start is optional: a mistake in its configuration shows then, where
   * otherwise nothing would be cached and updates would be refused.
   *
   * @throws {@link CacheError} `UNSAFE_REDIS`, `UNAVAILABLE`
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
  const resolved = resolveCacheOptions(options);
  const { name, onEvent } = resolved;
  const driver = openDriver(resolved);
  const replicas = openReplicas(resolved);
  const copies = new Copies({ maxEntries: resolved.maxCopies, maxBytes: resolved.maxCopyBytes });
  const open = new Map<string, OpenCollection<never, never>>();
  const closed = new AbortController();
  let sweeper: NodeJS.Timeout;
  // The next walk begins when one has ended, however long the keys of others make it.
  const planSweep = () => {
    sweeper = setTimeout(() => void sweep(), sweepEveryMs).unref();
  };
  const sweep = async () => {
    try {
      await driver.sweep(() => pause(sweepPauseMs, undefined, { signal: closed.signal, ref: false }));
    } catch (error) {
      if (!closed.signal.aborted) tell(onEvent, { type: "sweep-failed", error });
    }
    if (!closed.signal.aborted) planSweep();
  };
  planSweep();
  return {
    name,
    collection<T, Id>(type: string, given: CollectionOptions<T, Id>) {
      if (open.has(type)) throw new TypeError(`Lockstep cache: the collection "${type}" is open already.`);
      const options = resolveCollectionOptions(type, given);
      const collection = new OpenCollection({ driver, copies, replicas, onEvent }, { cache: name, type }, options);
      open.set(type, collection as unknown as OpenCollection<never, never>);
      return collection;
    },
    collections: () => [...open.values()],
    async ready() {
      await driver.ready().catch((error: unknown) => {
        throw unavailable(error);
      });
    },
    close() {
      closed.abort();
      clearTimeout(sweeper);
      for (const collection of open.values()) collection.close();
      driver.close();
    },
  };
}

function openDriver(options: ResolvedCacheOptions): Driver {
  const { tier } = options;
  if (tier instanceof MemcachedServers) return new MemcachedDriver(tier, options);
  return tier instanceof MemoryItems ? new MemoryDriver(tier) : new RedisDriver(tier, options);
}

function openReplicas({ tier, replicas, ...options }: ResolvedCacheOptions): Replicas | undefined {
  if (replicas === undefined || tier instanceof MemcachedServers || tier instanceof MemoryItems) return undefined;
  return new Replicas({ client: tier, replicas }, options);
}
