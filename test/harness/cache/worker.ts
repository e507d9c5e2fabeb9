// One server of a test: a real process in which cache products are opened. Their sources are in the test's process.
import type { CacheClient, Source, Value } from "../../../bench/peers/product.ts";
import { Boundaries } from "./boundaries.ts";
import { loadProduct } from "./products.ts";
import { Rpc } from "./rpc.ts";

/** What a server asks of the test. A cache is named by its prefix. */
export type TestMethods = {
  readonly load: (cache: string, id: string) => Promise<Value | undefined>;
  readonly loadMany: (cache: string, ids: readonly string[]) => Promise<ReadonlyMap<string, Value>>;
  readonly save: (cache: string, id: string, value: Value) => Promise<void>;
};

/** What a test asks of a server. */
export type WorkerMethods = typeof methods;

const boundaries = new Boundaries();
const caches = new Map<string, CacheClient>();

const methods = {
  open: async (cache: string, productName: string, redisUrl: string): Promise<void> => {
    const product = await loadProduct(productName);
    caches.set(cache, await product.open({ redisUrl, prefix: cache, source: sourceOf(cache) }));
  },
  close: async (cache: string): Promise<void> => {
    await opened(cache).close();
    caches.delete(cache);
  },
  get: async (cache: string, id: string) => opened(cache).get(id),
  getMany: async (cache: string, ids: readonly string[]) => opened(cache).getMany(ids),
  update: async (cache: string, id: string, value: Value) => opened(cache).update(id, value),
  invalidate: async (cache: string, id: string) => opened(cache).invalidate(id),
  isCopied: async (cache: string, id: string) => opened(cache).isCopied?.(id),
  armBoundary: (fatal: number) => boundaries.arm(fatal),
  passedBoundaries: () => boundaries.disarm(),
  memory: () => {
    globalThis.gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    return { heapBytes: heapUsed, residentBytes: rss };
  },
};

const test = new Rpc<TestMethods>((batch) => process.send?.(batch), methods);
process.on("message", (batch) => {
  test.receive(batch);
});
// A test that died has closed its end.
process.on("disconnect", () => process.exit());

function sourceOf(cache: string): Source {
  return {
    load: (id) => test.ask("load", cache, id),
    loadMany: (ids) => test.ask("loadMany", cache, ids),
    save: async (id, value) => {
      boundaries.pass("before the commit");
      await test.ask("save", cache, id, value);
      boundaries.pass("after the commit");
    },
  };
}

function opened(cache: string): CacheClient {
  const client = caches.get(cache);
  if (client === undefined) throw new Error(`The cache ${cache} is not open.`);
  return client;
}
