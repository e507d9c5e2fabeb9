import type { Cluster, Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";
import { connect, startOwnRedis } from "../../../redis-kit/test/harness/redis.ts";
import {
  type Cache,
  type CacheEvent,
  type WriteBehindCollection,
  type WriteBehindOptions,
  createCache,
} from "../../src/index.ts";
import { type QueueKeys, createQueueKeys } from "../../src/keys.ts";
import type { Ledger } from "./ledger.ts";
import { uniqueName } from "./redis.ts";
import { until } from "./until.ts";

/** Short, so that a fresh Redis is soon old enough for leases, and a dead server's lapse soon. */
const times = { saveTimeoutMs: 300, flushAfterMs: 40 };

/** What a test may want to be different. */
export interface QueueServerOptions<T> extends Partial<WriteBehindOptions<T>> {
  readonly client: Redis | Cluster;
  readonly name?: string;
  readonly deadlineMs?: number;
  /** Opens the cache; default: this package's. */
  readonly create?: typeof createCache;
}

/** A server: a cache with one write-behind collection in front of a ledger. */
export interface QueueServer<T> {
  readonly cache: Cache;
  readonly rows: WriteBehindCollection<T>;
  readonly events: readonly CacheEvent[];
  readonly keys: QueueKeys;
}

/** A Redis that may be trusted with writes: with an append-only file, and without eviction. */
export async function startQueueRedis(): Promise<{ port: number; client: Redis }> {
  const { port } = await startOwnRedis({ persistent: true });
  return { port, client: connect(port) };
}

/** Waits until its append-only file, switched on while it runs, is written: until then Redis can't be stopped. */
export async function untilAppending(client: Redis): Promise<void> {
  await until(async () => {
    const info = await client.info("persistence");
    for (const done of ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"]) {
      expect(info).toContain(done);
    }
  });
}

export function openQueueServer<T = unknown>(ledger: Ledger<T>, given: QueueServerOptions<T>): QueueServer<T> {
  const { client, name = uniqueName(), deadlineMs = 5_000, create = createCache, ...options } = given;
  const events: CacheEvent[] = [];
  const cache = create({ client, name, deadlineMs, onEvent: (event) => events.push(event) });
  onTestFinished(() => {
    cache.close();
  });
  const { load, save } = ledger;
  const all = { writePolicy: "write-behind", ttlMs: 60_000, load, save, ...times, ...options } as const;
  return { cache, rows: cache.collection<T>("row", all), events, keys: createQueueKeys(name, "row") };
}

/** Several servers of one cache, each with a client of its own. */
export function openQueueServers<T = unknown>(
  count: number,
  ledger: Ledger<T>,
  { port, ...options }: Omit<QueueServerOptions<T>, "client"> & { port: number },
): QueueServer<T>[] {
  const shared = { name: uniqueName(), ...options };
  return Array.from({ length: count }, () => openQueueServer(ledger, { ...shared, client: connect(port) }));
}
