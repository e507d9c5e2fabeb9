import { bentocache, bentocacheL2Only } from "./peers/bentocache.ts";
import { cacheAside } from "./peers/cache-aside.ts";
import { cacheable, cacheableL2Only } from "./peers/cacheable.ts";
import { inProcess } from "./peers/in-process.ts";
import { lockstep, lockstepWith } from "./peers/lockstep.ts";
import type { CacheProduct } from "./peers/product.ts";
import { rawRedis } from "./raw-redis.ts";

export { inProcess, rawRedis };

/** Every read that hits is answered by Redis. */
export const cachingInRedis: readonly CacheProduct[] = [cacheAside, lockstep, bentocacheL2Only, cacheableL2Only];

/** A read that hits is answered by the process itself, if it has asked before; Redis stands behind it. */
export const cachingInProcess: readonly CacheProduct[] = [bentocache, cacheable];

/** A write leaves the entry missing, as in the others' cache-aside. */
export const lockstepCacheAside = lockstepWith("lockstep, cache-aside", { writePolicy: "cache-aside" });

export const products: readonly CacheProduct[] = [
  rawRedis,
  inProcess,
  ...cachingInRedis,
  lockstepCacheAside,
  ...cachingInProcess,
];
