import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisBusDriver, redisDriver } from "bentocache/drivers/redis";
import { installedVersion } from "./installed-version.ts";
import { type CacheClient, type CacheProduct, type OpenOptions, ttlMs, type Value } from "./product.ts";

const version = installedVersion("bentocache");

/** The multi-tier set-up of its documentation: https://bentocache.dev/docs/multi-tier */
export const bentocache: CacheProduct = {
  name: "bentocache",
  version,
  configuration: "L1 memoryDriver (maxSize 64mb), L2 redisDriver, redisBusDriver; no grace; a write deletes the entry",
  open: async (options) =>
    open(options, (connection) =>
      bentostore()
        .useL1Layer(memoryDriver({ maxSize: "64mb" }))
        .useL2Layer(redisDriver({ connection }))
        .useBus(redisBusDriver({ connection })),
    ),
};

export const bentocacheL2Only: CacheProduct = {
  name: "bentocache, L2 only",
  version,
  configuration: "L2 redisDriver alone; no grace; a write deletes the entry",
  open: async (options) => open(options, (connection) => bentostore().useL2Layer(redisDriver({ connection }))),
};

type Store = ReturnType<ReturnType<typeof bentostore>["useL2Layer"]>;

function open(
  { redisUrl, prefix, source }: OpenOptions,
  storeOn: (connection: { host: string; port: number }) => Store,
): CacheClient {
  const { hostname, port } = new URL(redisUrl);
  const store = storeOn({ host: hostname, port: Number(port) });
  const bento = new BentoCache({ default: prefix, prefix, ttl: ttlMs, stores: { [prefix]: store } });

  const get = (id: string) =>
    bento.getOrSet<Value | undefined>({
      key: id,
      // `skip`: its way to leave a missing value out of the cache.
      factory: async ({ skip }) => (await source.load(id)) ?? skip(),
    });
  const invalidate = async (id: string) => void (await bento.delete({ key: id }));
  return {
    get,
    // It has no read of several keys.
    getMany: (ids) => Promise.all(ids.map(get)),
    update: async (id, value) => {
      await source.save(id, value);
      await invalidate(id);
    },
    invalidate,
    close: () => bento.disconnectAll(),
  };
}
