import { createKeyv } from "@keyv/redis";
import { RedisMessageProvider } from "@qified/redis";
import { Cacheable, type CacheableOptions } from "cacheable";
import { installedVersion } from "./installed-version.ts";
import { type CacheProduct, type CacheClient, type OpenOptions, ttlMs, type Value } from "./product.ts";

const version = installedVersion("cacheable");

/** Both layers and `CacheableSync`, as its README sets them up. */
export const cacheable: CacheProduct = {
  name: "cacheable",
  version,
  configuration:
    "primary in memory, secondary @keyv/redis, sync by @qified/redis; blocking; a write sets the entry, which tells the others",
  open: async (options) =>
    open(options, {
      secondary: createKeyv(options.redisUrl),
      sync: { qified: new RedisMessageProvider({ uri: options.redisUrl }) },
    }),
};

export const cacheableUnsynced: CacheProduct = {
  name: "cacheable, no sync",
  version,
  configuration: "primary in memory, secondary @keyv/redis; blocking; a write sets the entry",
  open: async (options) => open(options, { secondary: createKeyv(options.redisUrl) }),
};

export const cacheableL2Only: CacheProduct = {
  name: "cacheable, L2 only",
  version,
  configuration: "@keyv/redis as the only store; a write sets the entry",
  open: async (options) => open(options, { primary: createKeyv(options.redisUrl) }),
};

function open({ prefix, source }: OpenOptions, layers: CacheableOptions): CacheClient {
  const cache = new Cacheable({ ...layers, namespace: prefix, ttl: ttlMs, nonBlocking: false });
  return {
    // By default it takes a source that fails for a missing value.
    get: (id) => cache.getOrSet(id, () => source.load(id), { throwErrors: "function" }),
    getMany: async (ids) => {
      const values = await cache.getMany<Value>([...ids]);
      const missing = ids.filter((_, index) => values[index] === undefined);
      if (missing.length === 0) return values;
      const loaded = await source.loadMany(missing);
      await cache.setMany([...loaded].map(([key, value]) => ({ key, value })));
      return ids.map((id, index) => values[index] ?? loaded.get(id));
    },
    // Not `delete`: it tells the others only if this server held the value in memory itself.
    update: async (id, value) => {
      await source.save(id, value);
      await cache.set(id, value);
    },
    invalidate: async (id) => void (await cache.delete(id)),
    close: () => cache.disconnect(),
  };
}
