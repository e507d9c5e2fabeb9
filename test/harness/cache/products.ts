import type { CacheProduct } from "../../../bench/peers/product.ts";

/** By name, loaded when asked for: a server is to hold the code of its own product alone. */
const loads: Readonly<Record<string, () => Promise<CacheProduct>>> = {
  bentocache: async () => (await import("../../../bench/peers/bentocache.ts")).bentocache,
  "bentocache, L2 only": async () => (await import("../../../bench/peers/bentocache.ts")).bentocacheL2Only,
  cacheable: async () => (await import("../../../bench/peers/cacheable.ts")).cacheable,
  "cacheable, L2 only": async () => (await import("../../../bench/peers/cacheable.ts")).cacheableL2Only,
  "cache-aside over ioredis": async () => (await import("../../../bench/peers/cache-aside.ts")).cacheAside,
  "in-process Map": async () => (await import("../../../bench/peers/in-process.ts")).inProcess,
};

export async function loadProduct(name: string): Promise<CacheProduct> {
  const product = await loads[name]?.();
  if (product?.name !== name) throw new Error(`There is no product named ${name}.`);
  return product;
}

export function loadProducts(...names: readonly string[]): Promise<CacheProduct[]> {
  return Promise.all(names.map(loadProduct));
}
