import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { boundariesOfUpdate, killAt, type KilledUpdate } from "./harness/cache/killed-update.ts";
import { loadProducts } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";

/** Longer than a pending write is waited for, which may take a second more. */
const pendingMs = 1_000;
const watchMs = pendingMs + 1_500;

const peers = await loadProducts("cache-aside over ioredis", "bentocache");
const found = new Map<string, KilledUpdate[]>();

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start(await buildWorker());
  servers = fleet.startServers(2);
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

/** Kills an update at each of its boundaries, on servers of their own, all at once. */
async function killEverywhere(
  product: CacheProduct,
): Promise<{ boundaries: readonly string[]; kills: KilledUpdate[] }> {
  const readers = await fleet.openOn(servers, { product, records: new Records() });
  const boundaries = await boundariesOfUpdate(fleet, readers);
  const kills = await Promise.all(
    boundaries.map((boundary, index) => killAt(fleet, readers, { number: index + 1, boundary, watchMs })),
  );
  found.set(product.name, kills);
  return { boundaries, kills };
}

test.each(peers)("$name $version: an update killed after its commit leaves the old value", async (product) => {
  const { kills } = await killEverywhere(product);
  expect(kills.filter(({ committed, stale }) => committed && stale > 0)).not.toEqual([]);
});
