import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheOnServer, CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProduct, loadProducts } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";
import { stampede } from "./harness/cache/stampede.ts";

const serverCount = 20;
const rounds = 5;
/** A load has two seconds by default, and its token a quarter more; the rest is for a busy machine. */
const takeOverWithinMs = 5_000;
/** Who waits looks again every 50 ms. */
const handOverWithinMs = 1_500;
const loads = new Map<string, number[]>();

const lockstep = await loadProduct("lockstep, brief");
const peers = await loadProducts("bentocache", "cacheable", "cache-aside over ioredis");

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start(await buildWorker());
  servers = fleet.startServers(serverCount);
});
afterAll(async () => {
  await fleet.stop();
  await report("cache-stampede", {
    title: `Loads of one missing entry that ${serverCount} servers ask for at once`,
    columns: ["product", ...Array.from({ length: rounds }, (_, round) => `round ${round + 1}`)],
    rows: [...loads].map(([name, counts]) => [name, ...counts]),
    details: [...peers, lockstep].map(({ name, version, configuration }) => `${name} ${version}: ${configuration}`),
  });
});

/** The loads of each round. Every server must have been answered. */
async function measure(product: CacheProduct): Promise<number[]> {
  const records = new Records();
  const caches = await fleet.openOn(servers, { product, records });
  const counts: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { loads, failures } = await stampede(fleet, caches);
    expect(failures).toEqual([]);
    counts.push(loads);
  }
  loads.set(product.name, counts);
  return counts;
}

for (const product of peers) {
  test(`${product.name} ${product.version} loads an entry once for each server that asks`, async () => {
    expect(Math.min(...(await measure(product)))).toBeGreaterThan(1);
  });
}

test("lockstep loads an entry once for all servers", async () => {
  expect(await measure(lockstep)).toEqual(Array.from({ length: rounds }, () => 1));
});

test("a server that is killed while it loads is followed by one other", async () => {
  const { loads, failures, elapsedMs } = await stampede(fleet, await openLockstep(), async (barrier) => {
    await fleet.kill(barrier.waiting[0]);
    await barrier.arrivals(2);
    barrier.release();
  });
  expect(loads).toBe(2);
  // The dead server's own caller.
  expect(failures).toHaveLength(1);
  expect(elapsedMs).toBeLessThan(takeOverWithinMs);
});

test("a load that fails is followed by one other, and nobody else hears of it", async () => {
  const { loads, failures, elapsedMs } = await stampede(fleet, await openLockstep(), (barrier, { records, id }) => {
    records.failNextLoad(id, new Error("The source is out of order."));
    barrier.release();
  });
  expect(loads).toBe(2);
  expect(failures).toEqual([expect.objectContaining({ message: "The source is out of order." })]);
  expect(elapsedMs).toBeLessThan(handOverWithinMs);
});

test("a load that hangs ends in time, and is followed by one other", async () => {
  const { loads, failures, elapsedMs } = await stampede(fleet, await openLockstep(), (_barrier, { records, id }) => {
    records.holdNoMoreLoads(id);
  });
  expect(loads).toBe(2);
  expect(failures).toEqual([expect.objectContaining({ code: "LOAD_TIMEOUT" })]);
  expect(elapsedMs).toBeLessThan(takeOverWithinMs);
});

async function openLockstep(): Promise<CacheOnServer[]> {
  return fleet.openOn(
    servers.filter(({ isRunning }) => isRunning),
    { product: lockstep, records: new Records() },
  );
}
