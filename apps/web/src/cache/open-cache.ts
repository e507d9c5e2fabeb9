import { isDeepStrictEqual } from "node:util";
import { type Cache, type CacheEvent, createCache } from "@lockstep/cache";
import { connectMemcached, type Memcached } from "@lockstep/cache/memcached";
import type { NearCache } from "@lockstep/near-cache";
import type { Config } from "../config.ts";
import { reasonsOf } from "../reasons.ts";
import { closeRedis, openRedis, type RedisConnection } from "../redis/connection.ts";
import type { Address } from "../redis/redis-url.ts";

/** What the servers share entries in: a Redis, or Memcached servers, which know no near copies. */
export type SharedTier = SharedRedis | { readonly memcached: Memcached };

interface SharedRedis {
  readonly client: RedisConnection;
  readonly near?: NearCache | undefined;
  readonly durability?: Config["durability"];
}

/** A connection to what holds the entries; `close` does nothing where it is that of the state Redis. */
type OpenedTier = ({ readonly client: RedisConnection } | { readonly memcached: Memcached }) & { close(): void };

/** Connects to what CACHE_URL names: where that is the state Redis, there is one connection, and one group of near copies. */
export function openSharedTier(
  { cache, stateRedis }: Config,
  stateClient: RedisConnection,
  report: (message: string) => void,
): OpenedTier {
  if (isDeepStrictEqual(cache, stateRedis)) return { client: stateClient, close: () => undefined };
  if (cache.kind !== "memcached") {
    const client = openRedis("cache", cache, report);
    return { client, close: () => closeRedis(client) };
  }
  const memcached = connectMemcached(cache.servers.map(textOf));
  return { memcached, close: () => memcached.close() };
}

function textOf({ host, port }: Address): string {
  return `${host}:${port}`;
}

/** Opens the cache that all servers share. `report` hears what no request shows. */
export function openCache(tier: SharedTier, report: (message: string) => void): Cache {
  return open(tier, "lockstep", report, sentenceOf);
}

/** Opens the part of it that is in the state Redis: what is accepted there, and saved in the database later. */
export function openStateCache(
  { client, durability }: { readonly client: RedisConnection; readonly durability?: Config["durability"] },
  report: (message: string) => void,
): Cache {
  // A name of its own: the other's keys may be in the same Redis, under near copies that this one knows nothing of.
  return open({ client, durability }, "lockstep-state", report, sentenceOfState);
}

function open(
  tier: SharedTier,
  name: string,
  report: (message: string) => void,
  toSentence: (event: CacheEvent) => string | undefined,
): Cache {
  return createCache({
    ...tier,
    name,
    onEvent: (event) => {
      const sentence = toSentence(event);
      if (sentence !== undefined) report(sentence);
    },
  });
}

function sentenceOfState(event: CacheEvent): string | undefined {
  switch (event.type) {
    case "breaker":
      // Told of already: it has the sessions too.
      return undefined;
    case "durability-breaker":
      // As is this.
      return undefined;
    case "unsafe-redis":
      return `Nothing is counted. ${event.error.message}`;
    case "flush-failed":
      return `What was counted could not be saved, and will be tried again: ${reasonsOf(event.error)}`;
    case "dead-letter":
      return "A count could not be saved again and again. It is kept in Redis.";
    case "rows-lost":
      return "Counts have vanished from the state Redis before they were saved: has it been told to evict?";
    default:
      return sentenceOf(event);
  }
}

function sentenceOf(event: CacheEvent): string | undefined {
  switch (event.type) {
    case "breaker":
      if (event.state === "open") return "The cache Redis does not answer: the database is asked instead.";
      return event.state === "closed" ? "The cache Redis answers again." : undefined;
    case "replica-breaker":
      return `The replicas of the cache Redis: ${event.state}. Its primary is asked while they do not answer.`;
    case "durability-breaker":
      return undefined; // Only write-behind collections wait for replicas.
    case "unsafe-redis":
      return `Nothing is cached, and profiles cannot be changed. ${event.error.message}`;
    case "sweep-failed":
      return `The marks of servers that died were not cleared away: ${reasonsOf(event.error)}`;
    case "disagreement":
      return `The cache of the collection "${event.collection}" gave a value that the database does not have (${event.cause}).`;
    case "outcome-unknown":
      // Logged with the request that it failed.
      return undefined;
    default:
      return `The cache of the collection "${event.collection}" tells: ${event.type}. ${reasonsOf(event.error ?? "")}`.trim();
  }
}
