import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { killAtEveryBoundary, type KilledUpdate } from "./harness/cache/killed-update.ts";
import { loadProducts, pendingMs } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";

/** Longer than a pending write is waited for, which may take a second more. */
const watchMs = pendingMs + 1_500;

const locksteps = await loadProducts("lockstep, brief", "lockstep, brief, cache-aside");
const peers = await loadProducts("cache-aside over ioredis", "bentocache");
const found = new Map<string, KilledUpdate[]>();

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start();
  servers = fleet.startServers(await buildWorker(), 2);
});
afterAll(async () => {
  await fleet.stop();
  await report("cache-crash", {
    title: "An update killed with SIGKILL at each boundary between its commands",
    columns: ["cache", "killed at", "committed", "reads by others", "stale", "cached again after, ms"],
    rows: [...found].flatMap(([name, kills]) =>
      kills.map(({ boundary, committed, reads, stale, cachedAfterMs }) => [
        name,
        boundary,
        committed ? "yes" : "no",
        reads,
        stale,
        cachedAfterMs,
      ]),
    ),
    details: [
      `pendingMs ${pendingMs}; the others read between begin and commit, and for ${watchMs} ms from the kill on`,
    ],
  });
});

async function killed(product: CacheProduct): Promise<KilledUpdate[]> {
  const readers = await fleet.openOn(servers, { product, records: new Records() });
  const kills = await killAtEveryBoundary(fleet, readers, watchMs);
  found.set(product.name, kills);
  return kills;
}

for (const product of peers) {
  test(`${product.name} ${product.version}: an update killed after its commit leaves the old value`, async () => {
    const kills = await killed(product);
    expect(kills.filter(({ committed, stale }) => committed && stale > 0)).not.toEqual([]);
  });
}

for (const product of locksteps) {
  test(`${product.name}: an update killed at any boundary between its commands leaves nothing stale`, async () => {
    const kills = await killed(product);
    // Begin, the commit and end, before and after each.
    const commit = kills.findIndex(({ boundary }) => boundary.endsWith("before the commit"));
    expect(commit).toBeGreaterThanOrEqual(2);
    expect(kills.length - commit).toBeGreaterThanOrEqual(4);
    expect(kills.map(({ committed }) => committed)).toEqual(kills.map((_, index) => index > commit));
    expect(kills.filter(({ stale }) => stale > 0)).toEqual([]);
  });
}
