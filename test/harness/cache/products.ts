import type { LockstepSettings } from "../../../bench/peers/lockstep.ts";
import type { CacheProduct } from "../../../bench/peers/product.ts";

/** For tests that wait until a dead writer's mark has lapsed. */
export const pendingMs = 1_000;
const brief = { pendingMs, commitDeadlineMs: 0.9 * pendingMs };

/** For tests that count loads: a busy machine is no outage. */
const unhurried = { deadlineMs: 5_000 };

/** For tests that hold loads on purpose, hundreds at once. */
const patient = { loadTimeoutMs: 10_000 };

export const maxSourceConcurrency = 4;

/** By name, loaded when asked for: a server is to hold the code of its own product alone. */
const loads: Readonly<Record<string, (name: string) => Promise<CacheProduct>>> = {
  lockstep: (name) => lockstep(name, { ...unhurried, ...patient }),
  "lockstep, near copies": (name) => lockstep(name, { ...unhurried, near: true }),
  "lockstep, cache-aside": (name) => lockstep(name, { ...unhurried, ...patient, writePolicy: "cache-aside" }),
  "lockstep, brief": (name) => lockstep(name, { ...unhurried, ...brief }),
  "lockstep, brief, cache-aside": (name) => lockstep(name, { ...unhurried, ...brief, writePolicy: "cache-aside" }),
  "lockstep, brief, few loads": (name) => lockstep(name, { ...patient, ...brief, maxSourceConcurrency }),
  bentocache: async () => (await import("../../../bench/peers/bentocache.ts")).bentocache,
  "bentocache, L2 only": async () => (await import("../../../bench/peers/bentocache.ts")).bentocacheL2Only,
  cacheable: async () => (await import("../../../bench/peers/cacheable.ts")).cacheable,
  "cacheable, L2 only": async () => (await import("../../../bench/peers/cacheable.ts")).cacheableL2Only,
  "cache-aside over ioredis": async () => (await import("../../../bench/peers/cache-aside.ts")).cacheAside,
  "in-process Map": async () => (await import("../../../bench/peers/in-process.ts")).inProcess,
};

export async function loadProduct(name: string): Promise<CacheProduct> {
  const product = await loads[name]?.(name);
  if (product?.name !== name) throw new Error(`There is no product named ${name}.`);
  return product;
}

export function loadProducts(...names: readonly string[]): Promise<CacheProduct[]> {
  return Promise.all(names.map(loadProduct));
}

async function lockstep(name: string, settings: LockstepSettings): Promise<CacheProduct> {
  const { lockstepWith } = await import("../../../bench/peers/lockstep.ts");
  return lockstepWith(name, settings);
}
