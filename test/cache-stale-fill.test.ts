import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import type { Outcome } from "./harness/anomalies.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProduct, loadProducts } from "./harness/cache/products.ts";
import { seedOfRun } from "./harness/cache/random.ts";
import { report } from "./harness/cache/report.ts";
import { freeRun, lateReader, type Open, staleFill } from "./harness/cache/stale-fill.ts";

const seed = seedOfRun();
const outcomes = new Map<string, { forced?: Outcome; free?: Outcome }>();

const [writeThrough, cacheAside] = await Promise.all([loadProduct("lockstep"), loadProduct("lockstep, cache-aside")]);
const peers = await loadProducts(
  "bentocache",
  "bentocache, L2 only",
  "cacheable",
  "cacheable, L2 only",
  "cache-aside over ioredis",
);

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start();
  servers = fleet.startServers(await buildWorker(), 4);
});
afterAll(async () => {
  await fleet.stop();
  const cell = (outcome: Outcome | undefined) =>
    outcome === undefined ? "not run" : `${outcome.violations}/${outcome.attempts}`;
  await report("cache-stale-fill", {
    title: "Stale reads after a slow fill: violations of attempts, four servers",
    columns: ["product", "forced interleavings", "reads of a free run"],
    rows: [...outcomes].map(([name, { forced, free }]) => [name, cell(forced), cell(free)]),
    details: [...outcomes].flatMap(([name, { forced, free }]) => [
      `${name}, forced: ${forced?.detail ?? "not run"}`,
      `${name}, free: ${free?.detail ?? "not run"}`,
    ]),
  });
});

async function measure(product: CacheProduct, { rounds, steps }: { rounds: number; steps: number }) {
  const open: Open = (records) => fleet.openOn(servers, { product, records });
  const forced = await staleFill(open, { rounds, seed });
  const free = await freeRun(open, { steps, seed });
  outcomes.set(product.name, { forced, free });
  return { forced, free };
}

for (const product of peers) {
  test(`${product.name} ${product.version} puts old values back over newer ones`, async () => {
    const { forced } = await measure(product, { rounds: 200, steps: 2_000 });
    expect(forced.violations, forced.detail).toBeGreaterThan(0);
  });
}

test("lockstep never does in 10,000 interleavings", async () => {
  const { forced, free } = await measure(writeThrough, { rounds: 10_000, steps: 5_000 });
  expect(forced.violations, forced.detail).toBe(0);
  expect(free.violations, free.detail).toBe(0);
});

test("lockstep never does in 2,000 where writes leave the entry missing", async () => {
  const { forced, free } = await measure(cacheAside, { rounds: 2_000, steps: 5_000 });
  expect(forced.violations, forced.detail).toBe(0);
  expect(free.violations, free.detail).toBe(0);
});

test("lockstep never hands a load under way to somebody who came after the write", async () => {
  const open: Open = (records) => fleet.openOn(servers, { product: cacheAside, records });
  const { violations, detail } = await lateReader(open, { rounds: 500 });
  expect(violations, detail).toBe(0);
});
