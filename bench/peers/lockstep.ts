import { type CacheOptions, type CollectionOptions, createCache } from "@lockstep/cache";
import { joinNearCache } from "@lockstep/near-cache";
import { Redis } from "ioredis";
import { installedVersion } from "./installed-version.ts";
import { type CacheClient, type CacheProduct, ttlMs, type Value } from "./product.ts";

export type LockstepSettings = Partial<CollectionOptions<Value>> &
  Pick<CacheOptions, "deadlineMs"> & {
    /** Whether its servers keep near copies that are strict. */
    readonly near?: boolean;
  };

export const lockstep = lockstepWith("lockstep", {});

/** Copies in the process, for as long as a benchmark lasts. */
export const lockstepBounded = lockstepWith("lockstep, bounded", { coherence: "bounded", copyMs: 600_000 });

/** Copies in the process that are never stale, alone in its group. */
export const lockstepNear = lockstepWith("lockstep, near copies", { near: true });

/** The defaults, with another way to ask for many values. */
export function lockstepAsking(
  name: string,
  getMany: (get: CacheClient["get"], ids: readonly string[]) => ReturnType<CacheClient["getMany"]>,
): CacheProduct {
  return {
    ...lockstep,
    name,
    open: async (options) => {
      const client = await lockstep.open(options);
      return { ...client, getMany: (ids) => getMany((id) => client.get(id), ids) };
    },
  };
}

/** Lockstep's cache in another configuration than its defaults, under a name of its own. */
export function lockstepWith(name: string, settings: LockstepSettings, collectionCount = 1): CacheProduct {
  const changed = Object.entries(settings).map(
    ([option, value]) => `${option} ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  if (collectionCount > 1) changed.push(`${collectionCount} collections, the values spread over them`);
  return {
    name,
    version: installedVersion("@lockstep/cache"),
    configuration: changed.length === 0 ? "the defaults" : changed.join(", "),
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
      const { deadlineMs, near: isNear = false, ...options } = settings;
      const near = isNear ? await joinNearCache({ client, group: prefix }) : undefined;
      const cache = createCache({ client, near, name: prefix, deadlineMs });
      await cache.ready();
      const collections = Array.from({ length: collectionCount }, (_, index) =>
        cache.collection<Value>(`value-${index}`, {
          load: (id) => source.load(id),
          loadMany: (ids) => source.loadMany(ids),
          ttlMs,
          ...options,
        }),
      );
      const [first] = collections;
      if (first === undefined) throw new RangeError("There must be a collection.");
      const of = (id: string) => collections[numberIn(id) % collectionCount] ?? first;
      return {
        get: (id) => of(id).get(id),
        getMany: (ids) => (collectionCount === 1 ? first.getMany(ids) : Promise.all(ids.map((id) => of(id).get(id)))),
        update: async (id, value) => {
          await of(id).update(id, async () => {
            await source.save(id, value);
            return value;
          });
        },
        invalidate: (id) => of(id).invalidate(id),
        ...(near && { isCopied: async (id: string) => (await of(id).lookup(id)).from === "near" }),
        close: async () => {
          cache.close();
          await near?.close();
          await client.quit();
        },
      };
    },
  };
}

/** The benchmark's ids end in their number. */
function numberIn(id: string): number {
  return Number(/\d*$/.exec(id)?.[0] ?? 0);
}
