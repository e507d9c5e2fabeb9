import type { LineWork } from "./line-measurement.ts";
import type { CacheProduct } from "./peers/product.ts";
import {
  askingForMany,
  cachingInProcess,
  cachingInRedis,
  inManyCollections,
  inProcess,
  lockstepCacheAside,
  rawRedis,
} from "./products.ts";
import type { WorkName } from "./works.ts";

/** A line of the cache's table. */
export interface Line extends LineWork {
  readonly title: string;
  readonly work: WorkName;
  /** The first is what the others are compared with. */
  readonly products: readonly CacheProduct[];
  readonly valueBytes: number;
  readonly ids: number;
  readonly remarks?: readonly string[];
}

const usual = { valueBytes: 450, ids: 100, delayMs: 0, maxCalls: Infinity };
const reading = [rawRedis, ...cachingInRedis];
const everyCache = [...cachingInRedis, ...cachingInProcess];

const sizes = [
  { name: "1 KB", valueBytes: 1_000, ids: 100 },
  { name: "16 KB", valueBytes: 16_000, ids: 20 },
  { name: "256 KB", valueBytes: 256_000, ids: 4 },
  { name: "1 MB", valueBytes: 1_000_000, ids: 2 },
];

/** The lines of the table, in order. */
export const lines: readonly Line[] = [
  { ...usual, title: "Redis hit, one get at a time, 450 B", work: "get", products: reading },
  {
    ...usual,
    title: "Redis hits, 100 gets in one tick, 450 B each",
    work: "getsInOneTick",
    products: reading,
    remarks: ["p99 and p99.9 are those of the whole hundred."],
  },
  {
    ...usual,
    title: "Redis hits, getMany of 100, 450 B each",
    work: "getMany",
    products: reading,
    remarks: ["p99 and p99.9 are those of the whole hundred."],
  },
  {
    ...usual,
    title: "Hit in the process, one get at a time, 450 B",
    work: "getInProcess",
    products: [inProcess, ...cachingInProcess],
    remarks: ["Lockstep's copies are bounded here: another server's update shows when they end."],
  },
  {
    ...usual,
    title: "Miss and fill, the source answers at once, 450 B",
    work: "fill",
    products: everyCache,
    maxCalls: 2_000, // what is stored stays until the end, and Redis must not have to evict
  },
  {
    ...usual,
    title: "Update, 450 B",
    work: "update",
    products: [...cachingInRedis, lockstepCacheAside, ...cachingInProcess],
  },
  {
    ...usual,
    title: "100 Redis hits, asked for in three ways, 450 B each",
    work: "getMany",
    products: askingForMany,
    remarks: ["p99 and p99.9 are those of the whole hundred."],
  },
  {
    ...usual,
    title: "Redis hit, one get at a time, 450 B, in 1 to 1,000 collections",
    work: "get",
    products: inManyCollections,
    ids: 1_000,
  },
  ...sizes.map(({ name, ...size }): Line => {
    return { ...usual, ...size, title: `Redis hit, one get at a time, ${name}`, work: "get", products: reading };
  }),
  ...[0.5, 2].map((delayMs): Line => {
    const title = `Redis hit, one get at a time, 450 B, Redis ${delayMs} ms away`;
    return { ...usual, delayMs, title, work: "get", products: reading };
  }),
];
