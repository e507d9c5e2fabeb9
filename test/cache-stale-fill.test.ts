import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Outcome } from "./harness/anomalies.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProducts } from "./harness/cache/products.ts";
import { seedOfRun } from "./harness/cache/random.ts";
import { report } from "./harness/cache/report.ts";
import { freeRun, staleFill } from "./harness/cache/stale-fill.ts";

const seed = seedOfRun();
const outcomes = new Map<string, { forced?: Outcome; free?: Outcome }>();

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
  fleet = await Fleet.start(await buildWorker());
  servers = fleet.startServers(4);
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

describe.each(peers)("$name $version ($configuration)", (product) => {
  test("puts an old value back over a newer write", async () => {
    const forced = await staleFill((records) => fleet.openOn(servers, { product, records }), { rounds: 200, seed });
    const free = await freeRun((records) => fleet.openOn(servers, { product, records }), { steps: 2_000, seed });
    outcomes.set(product.name, { forced, free });
    expect(forced.violations, forced.detail).toBeGreaterThan(0);
  });
});
