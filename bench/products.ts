import { bentocache, bentocacheL2Only } from "./peers/bentocache.ts";
import { cacheAside } from "./peers/cache-aside.ts";
import { cacheable, cacheableL2Only } from "./peers/cacheable.ts";
import { inProcess } from "./peers/in-process.ts";
import { lockstep, lockstepAsking, lockstepBounded, lockstepNear, lockstepWith } from "./peers/lockstep.ts";
import type { CacheProduct, Value } from "./peers/product.ts";
import { rawRedis } from "./raw-redis.ts";

export { inProcess, rawRedis };

/** Every read that hits is answered by Redis. */
export const cachingInRedis: readonly CacheProduct[] = [cacheAside, lockstep, bentocacheL2Only, cacheableL2Only];

/** A read that hits is answered by the process itself, if it has asked before; Redis stands behind it. */
export const cachingInProcess: readonly CacheProduct[] = [lockstepNear, lockstepBounded, bentocache, cacheable];

/** The ways to ask Lockstep for many values. */
export const askingForMany: readonly CacheProduct[] = [
  lockstepAsking("lockstep, one get after the other", async (get, ids) => {
    const values: (Value | undefined)[] = [];
    for (const id of ids) values.push(await get(id));
    return values;
  }),
  lockstepAsking("lockstep, gets in one tick", (get, ids) => Promise.all(ids.map((id) => get(id)))),
  lockstep,
];

/** The same values in more and more collections. */
export const inManyCollections: readonly CacheProduct[] = [
  lockstep,
  ...[10, 100, 1_000].map((count) => lockstepWith(`lockstep, ${count} collections`, {}, count)),
];

/** A write leaves the entry missing, as in the others' cache-aside. */
export const lockstepCacheAside = lockstepWith("lockstep, cache-aside", { writePolicy: "cache-aside" });

export const products: readonly CacheProduct[] = [
  rawRedis,
  inProcess,
  ...cachingInRedis,
  lockstepCacheAside,
  ...cachingInProcess,
  ...askingForMany.filter((product) => product !== lockstep),
  ...inManyCollections.filter((product) => product !== lockstep),
];
