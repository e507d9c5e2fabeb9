import { type Cache, type CacheEvent, createCache } from "@lockstep/cache";
import type { NearCache } from "@lockstep/near-cache";
import type { Redis } from "ioredis";
import { reasonsOf } from "../reasons.ts";

/** Opens the cache that all servers share. `report` hears what no request shows. */
export function openCache(
  redis: { readonly client: Redis; readonly near?: NearCache | undefined },
  report: (message: string) => void,
): Cache {
  return open(redis, report, sentenceOf);
}

/** Opens the part of it that is in the state Redis: what is accepted there, and saved in the database later. */
export function openStateCache(client: Redis, report: (message: string) => void): Cache {
  return open({ client }, report, sentenceOfState);
}

function open(
  redis: { readonly client: Redis; readonly near?: NearCache | undefined },
  report: (message: string) => void,
  toSentence: (event: CacheEvent) => string | undefined,
): Cache {
  return createCache({
    ...redis,
    name: "lockstep",
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
