import { Redis } from "ioredis";
import { inject, onTestFinished } from "vitest";
import { startMemcached } from "../../../../infra/local/parts.mjs";
import { freePort } from "../../../../infra/local/processes.mjs";
import { type Fault, FaultProxy } from "../../../../test/harness/fault-proxy.ts";
import type { Driver, EntryRules } from "../../src/drivers/driver.ts";
import { MemcachedServers } from "../../src/drivers/memcached-servers.ts";
import { MemcachedDriver } from "../../src/drivers/memcached.ts";
import { MemoryItems } from "../../src/drivers/memory-items.ts";
import { MemoryDriver } from "../../src/drivers/memory.ts";
import { RedisDriver } from "../../src/drivers/redis.ts";
import {
  type Cache,
  type CacheEvent,
  type Collection,
  type CollectionOptions,
  createCache,
  createMemory,
  type SharedTier,
} from "../../src/index.ts";
import { type EntryKeys, createKeys } from "../../src/keys.ts";
import { connectMemcached } from "../../src/memcached.ts";
import { intercept, testClient, uniqueName, untilOldEnough } from "./redis.ts";
import type { Source } from "./source.ts";

/** Short, so that what is lost lapses soon. */
export const times = { pendingMs: 900, commitDeadlineMs: 800, loadTimeoutMs: 700 };

/** Put around each thing that a server does with what it shares. */
export type Around = (send: () => Promise<unknown>) => Promise<unknown>;

/** Something that servers can share. */
export interface Shared {
  /** A further server's connection to it, closed after the test. */
  connect(): SharedTier;
  /** One that can be broken; there is none in memory. */
  connectBreakable?(): Promise<{ tier: SharedTier; set: (fault: Fault) => Promise<void> }>;
  stop(): Promise<void>;
}

/** All that a cache can be on. */
export const setups: readonly { readonly name: string; readonly start: () => Promise<Shared> }[] = [
  { name: "Redis", start: shareRedis },
  { name: "Memcached, one server", start: () => shareMemcached(1) },
  { name: "Memcached, three servers", start: () => shareMemcached(3) },
  { name: "memory", start: shareMemory },
];

async function shareRedis(): Promise<Shared> {
  const client = new Redis(inject("redisUrl"));
  await untilOldEnough(client, times.pendingMs);
  return {
    connect: () => ({ client: testClient() }),
    async connectBreakable() {
      const proxy = await testProxy(client.options.port ?? 0);
      const options = { enableOfflineQueue: false, autoResendUnfulfilledCommands: false, retryStrategy: () => 20 };
      const breakable = new Redis(proxy.port, options);
      breakable.on("error", () => undefined);
      onTestFinished(() => {
        breakable.disconnect();
      });
      return { tier: { client: breakable }, set: (fault) => proxy.set(fault) };
    },
    stop() {
      client.disconnect();
      return Promise.resolve();
    },
  };
}

/** Its servers have names, so that a key belongs to the same one behind a proxy. */
export async function shareMemcached(count: number, settings: readonly string[] = []) {
  const ports = await Promise.all(Array.from({ length: count }, () => freePort()));
  const nodes = await Promise.all(ports.map((port) => startMemcached({ port, settings })));
  const connectTo = (to: readonly number[], timeoutMs = 10_000) => {
    const servers = to.map((port, index) => ({ name: `node-${index}`, address: `127.0.0.1:${port}` }));
    const memcached = expectA(MemcachedServers, connectMemcached(servers, { timeoutMs }));
    onTestFinished(() => {
      memcached.close();
    });
    return { memcached };
  };
  return {
    nodes,
    connect: () => connectTo(ports),
    async connectBreakable(timeoutMs = 10_000) {
      const proxies = await Promise.all(ports.map(testProxy));
      const tier = connectTo(
        proxies.map(({ port }) => port),
        timeoutMs,
      );
      const set = async (fault: Fault) => void (await Promise.all(proxies.map((proxy) => proxy.set(fault))));
      return { tier, set, proxies };
    },
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  } satisfies Shared & Record<string, unknown>;
}

async function testProxy(port: number): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(port);
  onTestFinished(() => proxy.stop());
  return proxy;
}

function interceptNodes({ nodes }: MemcachedServers, around: Around): MemcachedServers {
  return new MemcachedServers(
    nodes.map(({ name, client }) => ({
      name,
      client: new Proxy(client, {
        get(target, property) {
          const value: unknown = Reflect.get(target, property, target);
          if (property !== "send" || typeof value !== "function") return value;
          return (...args: unknown[]) => around(() => Reflect.apply(value, target, args) as Promise<unknown>);
        },
      }),
    })),
  );
}

function shareMemory(): Promise<Shared> {
  const memory = expectA(MemoryItems, createMemory());
  return Promise.resolve({ connect: () => ({ memory }), stop: () => Promise.resolve() });
}

function interceptMemory(memory: MemoryItems, around: Around): MemoryItems {
  return new (class extends MemoryItems {
    override run<T>(work: () => T): Promise<T> {
      return around(() => memory.run(work)) as Promise<T>;
    }
    override get(key: string) {
      return memory.get(key);
    }
    override put(key: string, next: Parameters<MemoryItems["put"]>[1]) {
      memory.put(key, next);
    }
  })({ maxEntries: 1 });
}

/** What users are handed is opaque to them. */
function expectA<T>(type: abstract new (...args: never) => T, given: unknown): T {
  if (given instanceof type) return given;
  throw new TypeError(`It is no ${type.name}.`);
}

/** The same, with `around` put around each thing that is sent: a script, a command, a change. */
export function interceptTier({ client, memcached, memory }: SharedTier, around: Around): SharedTier {
  if (client instanceof Redis) return { client: intercept(client, around) };
  if (memory !== undefined) return { memory: interceptMemory(expectA(MemoryItems, memory), around) };
  return { memcached: interceptNodes(expectA(MemcachedServers, memcached), around) };
}

/** The driver alone. */
export function openDriver(tier: SharedTier, name: string): Driver {
  const options = { name, deadlineMs: 10_000, onEvent: undefined };
  if (tier.memcached instanceof MemcachedServers) return new MemcachedDriver(tier.memcached, options);
  if (tier.memory instanceof MemoryItems) return new MemoryDriver(tier.memory);
  if (tier.client === undefined) throw new Error("There is nothing to open a driver on.");
  return new RedisDriver(tier.client, options);
}

/** What a test may want to be different. */
export interface OpenOptions extends Partial<CollectionOptions<unknown>> {
  readonly name?: string;
  readonly deadlineMs?: number;
}

/** A server: a cache with one collection in front of the source. */
export interface DriverServer {
  readonly cache: Cache;
  readonly things: Collection<unknown>;
  readonly events: readonly CacheEvent[];
  readonly keysOf: (id: string) => EntryKeys;
}

/** Opens a server. Its deadline is long, since a busy machine is no outage. */
export function openOn(tier: SharedTier, source: Source, given: OpenOptions = {}): DriverServer {
  const { name = uniqueName(), deadlineMs = 10_000, ...options } = given;
  const events: CacheEvent[] = [];
  const cache = createCache({ ...tier, name, deadlineMs, onEvent: (event) => events.push(event) });
  onTestFinished(() => {
    cache.close();
  });
  const loader = options.loadMany === undefined ? { load: source.load } : {};
  const things = cache.collection<unknown>("thing", { ttlMs: 60_000, ...times, ...loader, ...options });
  const keys = createKeys(name, "thing");
  return { cache, things, events, keysOf: (id) => keys.of(id) };
}

/** Two servers of one cache. */
export function openPair(shared: Shared, source: Source, options: OpenOptions = {}): [DriverServer, DriverServer] {
  const same = { name: uniqueName(), ...options };
  return [openOn(shared.connect(), source, same), openOn(shared.connect(), source, same)];
}

/** The rules of a collection, for a driver alone. */
export function rulesWith(rules: Partial<EntryRules> = {}): EntryRules {
  return { pendingMs: times.pendingMs, tokenLifeMs: 5_000, revision: 1, extraMs: 0, asksLife: false, ...rules };
}
