import { type Durability, keyPrefixOf, type Near, type RedisClient } from "@lockstep/redis-kit";
import { MemcachedServers } from "./drivers/memcached-servers.ts";
import { type Memory, MemoryItems } from "./drivers/memory-items.ts";
import type { CacheEvent } from "./events.ts";
import { longestLagMs } from "./replica-lag.ts";
import { demand, isText, milliseconds, millisecondsOrNone, positive, whole } from "./option-checks.ts";

/** Memcached servers, from `connectMemcached` of `@lockstep/cache/memcached`. They stay yours: no cache closes them. */
export interface Memcached {
  /** The names of the servers. */
  readonly servers: readonly string[];
  /** Closes the connections. What is asked of the cache afterwards, the source answers. */
  close(): void;
}

/** Where the entries are that all servers share: one of the three. */
export type SharedTier =
  | {
      /** Your ioredis client: one server, Sentinel or Cluster. It stays yours: nothing here configures or closes it. */
      readonly client: RedisClient;
      /**
       * A second ioredis client of yours that reads from replicas, for collections with `readFrom: "replica"`: one of a single replica, of
       * Sentinel with `role: "slave"`, or of a Cluster with `scaleReads: "slave"`.
       */
      readonly replicas?: RedisClient | undefined;
      /**
       * This server's membership in a group of near copies, from `joinNearCache` of `@lockstep/near-cache` with the same client: strict collections then
       * answer from memory too. All servers that write the same entries must be members.
       */
      readonly near?: Near | undefined;
      /**
       * When a write of a write-behind collection counts as accepted: once so many replicas have it too, which are waited for so long (`WAIT`). Where
       * they don't, it fails with `OUTCOME_UNKNOWN`. It takes a connection of its own. Entries, which the source has too, are not waited for.
       */
      readonly durability?: Durability | undefined;
      readonly memcached?: undefined;
      readonly memory?: undefined;
    }
  | {
      /** What `connectMemcached` returned. */
      readonly memcached: Memcached;
      readonly client?: undefined;
      readonly memory?: undefined;
    }
  | {
      /** What {@link createMemory} returned: for unit tests. */
      readonly memory: Memory;
      readonly client?: undefined;
      readonly memcached?: undefined;
    };

/** Options of {@link createCache}. */
export type CacheOptions = SharedTier & CommonCacheOptions;

/** Those that are the same wherever the entries are. */
export interface CommonCacheOptions {
  /** What each key starts with. Two apps on one Redis, or Memcached, need two names. Letters, digits and `_ . : -`. */
  readonly name: string;
  /** How long one command to Redis, or one operation on Memcached, may take, in ms; default 250. A read that takes longer, of two at most, is answered by the source. */
  readonly deadlineMs?: number | undefined;
  /** How many near copies this process keeps, of all collections together; default 10,000. */
  readonly maxCopies?: number | undefined;
  /** How many bytes they may hold, their keys included; default 67,108,864 (64 MiB). */
  readonly maxCopyBytes?: number | undefined;
  /** Told of each {@link CacheEvent}, once, as it happens. What it throws becomes a process warning. */
  readonly onEvent?: ((event: CacheEvent) => void) | undefined;
}

/** What a write leaves in the cache; the words are the field's. */
export type WritePolicy = "write-through" | "cache-aside";

/** Given to a loader. */
export interface LoadContext {
  /** Aborts when `loadTimeoutMs` is over: the result is not waited for any longer. */
  readonly signal: AbortSignal;
}

/** Given to the write of an update. */
export interface WriteContext {
  /** When the write must be done, on the clock of `performance.now()`, in ms. The source itself must enforce it. */
  readonly deadline: number;
  /** Aborts at the deadline. */
  readonly signal: AbortSignal;
}

/** Loads one value from the source; `undefined`: the source has none. It must read the primary, not a replica. */
export type Load<T, Id> = (id: Id, context: LoadContext) => Promise<T | undefined>;

/** Loads several values from the source at once. Ids that the source does not have are absent from the map. */
export type LoadMany<T, Id> = (ids: readonly Id[], context: LoadContext) => Promise<ReadonlyMap<Id, T>>;

/** What {@link ObserveOptions.onDisagreement} is told. */
export interface Disagreement<Id> {
  /** Whose value. */
  readonly id: Id;
  /** `copy`: a near copy differed from its entry. `entry`: an entry differed from the source. */
  readonly cause: "copy" | "entry";
}

/** Options of a collection's observer, which compares a sample of what reads were given with the source. */
export interface ObserveOptions<Id> {
  /** The part of the reads that a tier answered, from 0 to 1; one is compared at a time, and each costs at least one load. */
  readonly rate: number;
  /** Told of each disagreement, with the id, which no event holds. What it throws becomes an `observation-failed` event. */
  readonly onDisagreement?: ((found: Disagreement<Id>) => unknown) | undefined;
}

/** Options of a collection: how one kind of value is loaded, kept and written. All servers must give the same. */
export interface CollectionOptions<T, Id = string> {
  /** Loads one value. This or `loadMany` is required. */
  readonly load?: Load<T, Id> | undefined;
  /** Loads several values at once; used for one too, where there is no `load`. */
  readonly loadMany?: LoadMany<T, Id> | undefined;
  /** An id as text, where ids are not strings or numbers. Two ids with one text are one id. */
  readonly key?: ((id: Id) => string) | undefined;
  /** The life of an entry, in ms. A change that went past this cache shows after that, unless it is invalidated. */
  readonly ttlMs: number;
  /**
   * The largest part of `ttlMs` and `missingMs` by which a life is shortened at random, from 0 to 1; default 0.1. What was loaded in one
   * moment then does not expire in one.
   */
  readonly jitter?: number | undefined;
  /**
   * For how long after its life a value may still be served, in ms, while one server refreshes it; default 0. A write through
   * this cache takes such a value away at once as well; only changes that go past it show later.
   */
  readonly staleMs?: number | undefined;
  /** For how long after its life a value may be served, in ms, where the source fails to give a new one; default 0. Likewise. */
  readonly graceMs?: number | undefined;
  /** Raise it when the shape of the values changes: entries of another revision read as missing; default 1. A whole number. */
  readonly revision?: number | undefined;
  /**
   * `"strict"` (default): a read gives what the last write has left, on whichever server; with the cache's `near`, also from memory.
   * `"bounded"`: this process keeps copies, and may give one for up to `copyMs` after another server's write has returned; never after its
   * own. With `near`, the other servers are told of a write, mostly at once, but it does not wait for them.
   */
  readonly coherence?: "strict" | "bounded" | undefined;
  /** How long a near copy lives, in ms, from the sending of its read; default 1,000. */
  readonly copyMs?: number | undefined;
  /**
   * Where entries are read: `"primary"` (default), or `"replica"`, which needs coherence `"bounded"` and the cache's `replicas`. Another
   * server's write may then show up to `maxLagMs` later; this one's own shows at once. What a replica can't answer the primary does.
   */
  readonly readFrom?: "primary" | "replica" | undefined;
  /** How far behind a replica may be, in ms, for its answer to count; default 1,000. With a near copy of it, `copyMs` come on top. */
  readonly maxLagMs?: number | undefined;
  /** How long "the source has no such value" is kept, in ms; default 10,000. */
  readonly missingMs?: number | undefined;
  /** Compares a sample of what reads are given with the source, and counts what differs; default: none. */
  readonly observe?: ObserveOptions<Id> | undefined;
  /** Whether `update` stores the value that its write returned (`"write-through"`, the default), or leaves the entry missing. */
  readonly writePolicy?: WritePolicy | undefined;
  /**
   * The longest time a write may be pending, in ms; default 5,000. After a writer's death its entry is not cached for so
   * long; nor is anything after Redis started or failed over.
   */
  readonly pendingMs?: number | undefined;
  /** How long the write of an update may take, in ms; default 4,000, at most 0.99 × `pendingMs`. */
  readonly commitDeadlineMs?: number | undefined;
  /**
   * How long a load may take, in ms, and how long it may wait for its turn before; default 2,000. After a loading server's death others
   * wait a little longer than both.
   */
  readonly loadTimeoutMs?: number | undefined;
  /** How many loads of this collection may run at a time in this process; default 8. A `loadMany` counts as one. */
  readonly maxSourceConcurrency?: number | undefined;
  /** How many loads may wait for their turn; default 1,000. Further ones fail with `OVERLOADED`. */
  readonly maxSourceQueue?: number | undefined;
  /** The largest entry in bytes of JSON; default 1,048,576. Larger values are served and not kept. */
  readonly maxBytes?: number | undefined;
  /**
   * What `update` and `invalidate` do while Redis is gone; default `"reject"`: they fail with `UNAVAILABLE`, an update
   * before its write runs. `"proceed"`: the write runs, and the entry is invalidated once Redis is back; until then
   * other servers that still reach Redis may serve the old value.
   */
  readonly onUnavailable?: "reject" | "proceed" | undefined;
}

/** Options of a cache as it uses them: checked, and none missing. */
export interface ResolvedCacheOptions {
  readonly tier: RedisClient | MemcachedServers | MemoryItems;
  readonly replicas: RedisClient | undefined;
  readonly near: Near | undefined;
  readonly durability: Durability | undefined;
  readonly name: string;
  readonly deadlineMs: number;
  readonly maxCopies: number;
  readonly maxCopyBytes: number;
  readonly onEvent: ((event: CacheEvent) => void) | undefined;
}

/** Options of a collection as it uses them: checked, and none missing. */
export interface ResolvedCollectionOptions<T, Id> {
  readonly load: Load<T, Id> | undefined;
  readonly loadMany: LoadMany<T, Id> | undefined;
  readonly key: (id: Id) => string;
  readonly ttlMs: number;
  readonly missingMs: number;
  readonly jitter: number;
  readonly staleMs: number;
  readonly graceMs: number;
  readonly revision: number;
  readonly coherence: "strict" | "bounded";
  /** How long a near copy lives; `Infinity`, where a lease bounds it: as long as its entry. */
  readonly copyMs: number;
  /** How far behind a replica may be; 0: none is read. */
  readonly maxLagMs: number;
  readonly observe: ObserveOptions<Id> | undefined;
  readonly writePolicy: WritePolicy;
  readonly pendingMs: number;
  readonly commitDeadlineMs: number;
  readonly loadTimeoutMs: number;
  readonly maxSourceConcurrency: number;
  readonly maxSourceQueue: number;
  readonly maxBytes: number;
  readonly onUnavailable: "reject" | "proceed";
}

/** The default of {@link CommonCacheOptions.deadlineMs}. */
const defaultDeadlineMs = 250;

/** How far two clocks may drift apart in a second: COHERENCE ρ, generous for any crystal. */
export const clockDrift = 0.01;

/** @throws TypeError naming the first option that can't be meant */
export function resolveCacheOptions(options: CacheOptions): ResolvedCacheOptions {
  const { name, onEvent } = options;
  demand("name must be one or more letters, digits, or _ . : -", isText(name, /^[\w.:-]+$/));
  return {
    tier: sharedTier(options),
    replicas: replicasOf(options),
    near: nearOf(options),
    durability: durabilityOf(options),
    name,
    deadlineMs: milliseconds("deadlineMs", options.deadlineMs ?? defaultDeadlineMs),
    maxCopies: whole("maxCopies", options.maxCopies ?? 10_000),
    maxCopyBytes: whole("maxCopyBytes", options.maxCopyBytes ?? 67_108_864),
    onEvent,
  };
}

/** A write must outlast a silent member; so does its mark then, which is pending for longer. @throws TypeError */
export function checkAgainstNear({ stallMs }: Near, options: { readonly commitDeadlineMs: number }): void {
  demand(`commitDeadlineMs must be more than near's ${stallMs} ms`, options.commitDeadlineMs > stallMs);
}

/** @throws TypeError naming the first option that can't be meant */
export function resolveCollectionOptions<T, Id>(
  type: string,
  options: CollectionOptions<T, Id>,
): ResolvedCollectionOptions<T, Id> {
  const { writePolicy = "write-through", onUnavailable = "reject", coherence = "strict", jitter = 0.1 } = options;
  const { readFrom = "primary" } = options;
  const pendingMs = positive("pendingMs", options.pendingMs ?? 5_000);
  const commitDeadlineMs = positive("commitDeadlineMs", options.commitDeadlineMs ?? 4_000);
  demand("a collection's type must be one or more letters, digits, or _ -", isText(type, /^[\w-]+$/));
  demand("load or loadMany is required", options.load !== undefined || options.loadMany !== undefined);
  demand(
    'writePolicy must be "write-through" or "cache-aside"',
    ["write-through", "cache-aside"].includes(writePolicy),
  );
  demand('onUnavailable must be "reject" or "proceed"', ["reject", "proceed"].includes(onUnavailable));
  demand('coherence must be "strict" or "bounded"', ["strict", "bounded"].includes(coherence));
  demand('copyMs needs coherence "bounded"', options.copyMs === undefined || coherence === "bounded");
  demand('readFrom must be "primary" or "replica"', ["primary", "replica"].includes(readFrom));
  demand('readFrom "replica" needs coherence "bounded"', readFrom === "primary" || coherence === "bounded");
  demand('maxLagMs needs readFrom "replica"', options.maxLagMs === undefined || readFrom === "replica");
  demand("jitter must be a number from 0 to 1", jitter >= 0 && jitter <= 1);
  const { rate = 0 } = options.observe ?? {};
  demand("observe.rate must be a number from 0 to 1", rate >= 0 && rate <= 1);
  demand("commitDeadlineMs must be at most 0.99 × pendingMs", commitDeadlineMs <= pendingMs * (1 - clockDrift));
  return {
    load: options.load,
    loadMany: options.loadMany,
    key: options.key ?? String,
    ttlMs: milliseconds("ttlMs", options.ttlMs),
    missingMs: milliseconds("missingMs", options.missingMs ?? 10_000),
    jitter,
    staleMs: millisecondsOrNone("staleMs", options.staleMs ?? 0),
    graceMs: millisecondsOrNone("graceMs", options.graceMs ?? 0),
    revision: whole("revision", options.revision ?? 1),
    maxLagMs: readFrom === "replica" ? lagBound(options.maxLagMs ?? 1_000) : 0,
    coherence,
    copyMs: coherence === "bounded" ? milliseconds("copyMs", options.copyMs ?? 1_000) : Infinity,
    observe: options.observe,
    writePolicy,
    pendingMs: milliseconds("pendingMs", pendingMs),
    commitDeadlineMs,
    loadTimeoutMs: milliseconds("loadTimeoutMs", options.loadTimeoutMs ?? 2_000),
    maxSourceConcurrency: whole("maxSourceConcurrency", options.maxSourceConcurrency ?? 8),
    maxSourceQueue: whole("maxSourceQueue", options.maxSourceQueue ?? 1_000),
    maxBytes: whole("maxBytes", options.maxBytes ?? 1_048_576),
    onUnavailable,
  };
}

function lagBound(maxLagMs: number): number {
  demand(`maxLagMs must be at most ${longestLagMs}: a longer lag is not measured`, maxLagMs <= longestLagMs);
  return milliseconds("maxLagMs", maxLagMs);
}

function durabilityOf({ client, durability, deadlineMs }: CacheOptions & { durability?: Durability | undefined }) {
  if (durability === undefined) return undefined;
  demand("durability needs client", client !== undefined);
  // 0 would be for ever.
  const timeoutMs = whole("durability.timeoutMs", durability.timeoutMs);
  demand("durability.timeoutMs must be less than deadlineMs", timeoutMs < (deadlineMs ?? defaultDeadlineMs));
  return { replicas: whole("durability.replicas", durability.replicas), timeoutMs };
}

/** Whoever calls from JavaScript, or from a `.env`, is not held back by the types. */
function sharedTier({ client, memcached, memory }: { client?: unknown; memcached?: unknown; memory?: unknown }) {
  const given = [client, memcached, memory].filter((each) => each !== undefined);
  demand("one of client, memcached and memory is required, and no more", given.length === 1);
  if (memcached instanceof MemcachedServers) return memcached;
  if (memory instanceof MemoryItems) return memory;
  demand("memcached must be what connectMemcached has returned", memcached === undefined);
  demand("memory must be what createMemory has returned", memory === undefined);
  demand("client must be an ioredis client", typeof (client as Partial<RedisClient> | null)?.evalsha === "function");
  return client as RedisClient;
}

function replicasOf({ client, replicas }: CacheOptions & { replicas?: RedisClient | undefined }) {
  if (replicas === undefined) return undefined;
  const isClient = typeof (replicas as Partial<RedisClient> | null)?.evalsha_ro === "function";
  const rule = "replicas must be an ioredis client with the keyPrefix of client";
  demand(rule, client !== undefined && isClient && keyPrefixOf(replicas) === keyPrefixOf(client));
  return replicas;
}

function nearOf({ client, near }: CacheOptions & { near?: Near | undefined }): Near | undefined {
  if (near === undefined) return undefined;
  const isNear = typeof (near as Partial<Near> | null)?.revoke === "function";
  demand("near must be what joinNearCache has returned, for the same client", isNear && near.client === client);
  return near;
}
