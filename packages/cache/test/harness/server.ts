import type { Near } from "@lockstep/redis-kit";
import type { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { type Cache, type CacheEvent, type Collection, type CollectionOptions, createCache } from "../../src/index.ts";
import { type EntryKeys, createKeys } from "../../src/keys.ts";
import { testClient, uniqueName, untilOldEnough } from "./redis.ts";
import type { Source } from "./source.ts";

/** Short, so that Redis is soon old enough for fills. */
const times = { pendingMs: 900, commitDeadlineMs: 800 };

/** What a test may want to be different. */
export interface ServerOptions extends Partial<CollectionOptions<unknown>> {
  readonly name?: string;
  readonly client?: Redis;
  readonly deadlineMs?: number;
  readonly maxCopies?: number;
  readonly near?: Near | undefined;
  readonly onEvent?: () => unknown;
  /** Of a copy of the package, with a rule cut out. */
  readonly create?: typeof createCache;
}

/** A server: a cache on a client of its own, with one collection in front of the source. */
export interface Server {
  readonly client: Redis;
  readonly cache: Cache;
  readonly things: Collection<unknown>;
  readonly events: readonly CacheEvent[];
  readonly keysOf: (id: string) => EntryKeys;
}

/** Opens a server; it asks Redis for nothing yet. The deadline is long, since a busy machine is no outage. */
export function openServer(source: Source, given: ServerOptions = {}): Server {
  const {
    name = uniqueName(),
    client = testClient(),
    deadlineMs = 10_000,
    maxCopies,
    onEvent,
    near,
    create = createCache,
    ...options
  } = given;
  const events: CacheEvent[] = [];
  const cache = create({
    ...{ client, name, deadlineMs, maxCopies, near },
    onEvent: onEvent ?? ((event) => events.push(event)),
  });
  onTestFinished(() => {
    cache.close();
  });
  const loader = options.loadMany === undefined ? { load: source.load } : {};
  const things = cache.collection<unknown>("thing", { ttlMs: 60_000, ...times, ...loader, ...options });
  const keys = createKeys(name, "thing");
  return { client, cache, things, events, keysOf: (id) => keys.of(id) };
}

/** The same, once its Redis is old enough for fills. */
export async function openWarmServer(source: Source, options: ServerOptions = {}): Promise<Server> {
  const server = openServer(source, options);
  await untilOldEnough(server.client, options.pendingMs ?? times.pendingMs);
  return server;
}

/** Two servers of one cache, likewise. */
export async function openTwoServers(source: Source, options: ServerOptions = {}): Promise<[Server, Server]> {
  const shared = { name: uniqueName(), ...options };
  return [await openWarmServer(source, shared), openServer(source, shared)];
}
