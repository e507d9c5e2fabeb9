import type { CacheProduct, Value } from "./product.ts";

/** What a server has before it shares anything: a cache of its own, that no other server fills, or invalidates. */
export const inProcess: CacheProduct = {
  name: "in-process Map",
  version: process.version,
  configuration: "one Map a server, Redis not used",
  open: async ({ source }) => {
    const values = new Map<string, Value>();
    const get = async (id: string) => {
      const value = values.get(id) ?? (await source.load(id));
      if (value !== undefined) values.set(id, value);
      return value;
    };
    return {
      get,
      getMany: (ids) => Promise.all(ids.map(get)),
      update: async (id, value) => {
        await source.save(id, value);
        values.set(id, value);
      },
      invalidate: async (id) => void values.delete(id),
      close: async () => values.clear(),
    };
  },
};
