import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheOnServer, CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProduct, loadProducts } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";
import {
  handedOverWithinMs,
  loaderKilled,
  loadFails,
  loadHangs,
  stampede,
  takenOverWithinMs,
} from "./harness/cache/stampede.ts";

const serverCount = 20;
const rounds = 5;
const loads = new Map<string, number[]>();

const lockstep = await loadProduct("lockstep, brief");
const peers = await loadProducts("bentocache", "cacheable", "cache-aside over ioredis");

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start();
  servers = fleet.startServers(await buildWorker(), serverCount);
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
  const { loads, failures, elapsedMs } = await loaderKilled(fleet, await openLockstep());
  expect(loads).toBe(2);
  // What its own caller was told.
  expect(failures).toEqual([expect.objectContaining({ message: expect.stringContaining("has ended") as unknown })]);
  expect(elapsedMs).toBeLessThan(takenOverWithinMs);
});

test("a load that fails is followed by one other, at once, and only its own caller hears of it", async () => {
  const error = new Error("The source is out of order.");
  const { loads, failures, elapsedMs } = await loadFails(fleet, await openLockstep(), error);
  expect(loads).toBe(2);
  expect(failures).toEqual([expect.objectContaining({ message: error.message })]);
  expect(elapsedMs).toBeLessThan(handedOverWithinMs);
});

test("a load that hangs is given up in time, and followed by one other", async () => {
  const { loads, failures, elapsedMs } = await loadHangs(fleet, await openLockstep());
  expect(loads).toBe(2);
  expect(failures).toEqual([expect.objectContaining({ code: "LOAD_TIMEOUT" })]);
  expect(elapsedMs).toBeLessThan(takenOverWithinMs);
});

async function openLockstep(): Promise<CacheOnServer[]> {
  const running = servers.filter(({ isRunning }) => isRunning);
  return fleet.openOn(running, { product: lockstep, records: new Records() });
}
