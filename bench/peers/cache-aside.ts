import { Redis } from "ioredis";
import { installedVersion } from "./installed-version.ts";
import { type CacheProduct, ttlMs, type Value } from "./product.ts";

/** The pattern as it is taught: look into Redis, load on a miss, store; after a write, delete. */
export const cacheAside: CacheProduct = {
  name: "cache-aside over ioredis",
  version: installedVersion("ioredis"),
  configuration: "GET (MGET), on a miss load and SET PX, after a write DEL",
  open: async ({ redisUrl, prefix, source }) => {
    const redis = new Redis(redisUrl, { protocol: 2 });
    const key = (id: string) => `${prefix}:${id}`;
    const parsed = (text: string | null) => (text === null ? undefined : (JSON.parse(text) as Value));
    const store = (id: string, value: Value) => redis.set(key(id), JSON.stringify(value), "PX", ttlMs);
    const invalidate = async (id: string) => void (await redis.del(key(id)));
    return {
      get: async (id) => {
        const cached = parsed(await redis.get(key(id)));
        if (cached !== undefined) return cached;
        const loaded = await source.load(id);
        if (loaded !== undefined) await store(id, loaded);
        return loaded;
      },
      getMany: async (ids) => {
        const values = (await redis.mget(ids.map(key))).map(parsed);
        const missing = ids.filter((_, index) => values[index] === undefined);
        if (missing.length === 0) return values;
        const loaded = await source.loadMany(missing);
        await Promise.all([...loaded].map(([id, value]) => store(id, value)));
        return ids.map((id, index) => values[index] ?? loaded.get(id));
      },
      update: async (id, value) => {
        await source.save(id, value);
        await invalidate(id);
      },
      invalidate,
      close: async () => void (await redis.quit()),
    };
  },
};
