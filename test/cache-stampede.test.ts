import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProducts } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";
import { stampede } from "./harness/cache/stampede.ts";

const serverCount = 20;
const rounds = 5;
const loads = new Map<string, number[]>();

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
    details: peers.map(({ name, version, configuration }) => `${name} ${version}: ${configuration}`),
  });
});

/** The loads of each round. Every server must have been answered. */
async function measure(product: (typeof peers)[number]): Promise<number[]> {
  const records = new Records();
  const caches = await fleet.openOn(servers, { product, records });
  const counts: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { loads, answers } = await stampede(fleet, caches, records);
    expect(answers.filter(({ status }) => status === "rejected")).toEqual([]);
    counts.push(loads);
  }
  return counts;
}

describe.each(peers)("$name $version ($configuration)", (product) => {
  test("loads an entry once for each server that asks", async () => {
    const counts = await measure(product);
    loads.set(product.name, counts);
    expect(Math.max(...counts)).toBeGreaterThan(1);
  });
});
