import { Redis } from "ioredis";
import { installedVersion } from "./peers/installed-version.ts";
import type { CacheProduct, Value } from "./peers/product.ts";

/** What no cache on Redis can undercut: the command and the parsing. It never asks the source, so it takes part in hits only. */
export const rawRedis: CacheProduct = {
  name: "raw ioredis",
  version: installedVersion("ioredis"),
  configuration: "GET (MGET) and JSON.parse",
  open: async ({ redisUrl, prefix, source }) => {
    const redis = new Redis(redisUrl, { protocol: 2 });
    const key = (id: string) => `${prefix}:${id}`;
    const parsed = (text: string | null) => (text === null ? undefined : (JSON.parse(text) as Value));
    return {
      get: async (id) => parsed(await redis.get(key(id))),
      getMany: async (ids) => (await redis.mget(ids.map(key))).map(parsed),
      update: async (id, value) => {
        await source.save(id, value);
        await redis.set(key(id), JSON.stringify(value));
      },
      invalidate: async (id) => void (await redis.del(key(id))),
      close: async () => void (await redis.quit()),
    };
  },
};
