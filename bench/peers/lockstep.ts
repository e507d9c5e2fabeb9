import { type CacheOptions, type CollectionOptions, createCache } from "@lockstep/cache";
import { Redis } from "ioredis";
import { installedVersion } from "./installed-version.ts";
import { type CacheProduct, ttlMs, type Value } from "./product.ts";

export type LockstepSettings = Partial<CollectionOptions<Value>> & Pick<CacheOptions, "deadlineMs">;

export const lockstep = lockstepWith("lockstep", {});

/** Lockstep's cache in another configuration than its defaults, under a name of its own. */
export function lockstepWith(name: string, settings: LockstepSettings): CacheProduct {
  const changed = Object.entries(settings).map(([option, value]) => `${option} ${String(value)}`);
  return {
    name,
    version: installedVersion("@lockstep/cache"),
    configuration: ["no near copies", ...(changed.length === 0 ? ["the defaults"] : changed)].join(", "),
    open: async ({ redisUrl, prefix, source }) => {
      const client = new Redis(redisUrl, {
        protocol: 2,
        connectTimeout: 1_000,
        // What its README asks for: while Redis is gone a command fails at once, and none is sent twice.
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        autoResendUnfulfilledCommands: false,
        retryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
      });
      // The cache answers for an outage; without a listener ioredis prints each error.
      client.on("error", () => undefined);
      await new Promise((resolve) => client.once("ready", resolve));
      const { deadlineMs, ...options } = settings;
      const cache = createCache({ client, name: prefix, deadlineMs });
      await cache.ready();
      const values = cache.collection<Value>("value", {
        load: (id) => source.load(id),
        loadMany: (ids) => source.loadMany(ids),
        ttlMs,
        ...options,
      });
      return {
        get: (id) => values.get(id),
        getMany: (ids) => values.getMany(ids),
        update: async (id, value) => {
          await values.update(id, async () => {
            await source.save(id, value);
            return value;
          });
        },
        invalidate: (id) => values.invalidate(id),
        close: async () => {
          cache.close();
          await client.quit();
        },
      };
    },
  };
}
