import { afterAll, beforeAll, expect, test } from "vitest";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheOnServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { History } from "./harness/cache/history.ts";
import { type Gone, type Outage, withoutRedis } from "./harness/cache/outage.ts";
import { loadProduct, maxSourceConcurrency } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";
import { writeAcrossRestart } from "./harness/cache/restart.ts";
import { untilCached } from "./harness/cache/until-cached.ts";
import { FaultProxy } from "./harness/fault-proxy.ts";

const outages: readonly (Omit<Gone, "maxInFlight"> & { readonly what: string })[] = [
  { what: "refuses connections", fault: "refuse", seenIn: "resets" },
  { what: "resets connections", fault: "reset", seenIn: "resets" },
  { what: "is a black hole", fault: "hold", seenIn: "heldChunks" },
  { what: "is three seconds away", fault: { delayMs: 3_000 }, seenIn: "delayedChunks" },
];
const found: { readonly what: string; readonly outage: Outage }[] = [];

const records = new Records();
const history = new History(records);

let fleet: Fleet;
let proxy: FaultProxy;
let caches: CacheOnServer[];
beforeAll(async () => {
  fleet = await Fleet.start();
  proxy = await FaultProxy.start(Number(new URL(fleet.redisUrl).port));
  const product = await loadProduct("lockstep, brief, few loads");
  const redisUrl = `redis://127.0.0.1:${proxy.port}`;
  const servers = fleet.startServers(await buildWorker(), 3);
  caches = await fleet.openOn(servers, { product, records, redisUrl });
});
afterAll(async () => {
  await fleet.stop();
  await proxy.stop();
  const slowest = (attempts: Outage["reads"]) => Math.round(Math.max(...attempts.map(({ elapsedMs }) => elapsedMs)));
  await report("cache-outage", {
    title: "Lockstep while Redis is gone, on three servers",
    columns: [
      "Redis",
      "first at the source after, ms",
      "reads at once",
      "slowest, ms",
      "loads at once, a server",
      "updates refused",
      "slowest, ms",
    ],
    rows: found.map(({ what, outage: { firstLoadMs, reads, peakInFlight, updates } }) => [
      what,
      Math.round(firstLoadMs),
      reads.length,
      slowest(reads),
      peakInFlight,
      updates.length,
      slowest(updates),
    ]),
    details: [`a server may have ${maxSourceConcurrency} loads under way at once`],
  });
});

let lastId = 0;

/** Ids that every server finds in the cache. */
async function cachedIds(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => `gone-${(lastId += 1)}`);
  for (const id of ids) records.commit(id);
  await untilCached(caches, history, ids);
  return ids;
}

async function updateOnAll(ids: readonly string[]): Promise<void> {
  for (const [index, cache] of caches.entries()) await history.update(cache, ids[index] ?? "");
}

for (const { what, ...gone } of outages) {
  test(`while Redis ${what} reads come from the source, few at once, and updates are refused before they come to it`, async () => {
    const ids = await cachedIds(40);
    const outage = await withoutRedis(caches, { history, ids, proxy }, { ...gone, maxInFlight: maxSourceConcurrency });
    found.push({ what, outage });
    expect(outage.reads.filter(({ outcome }) => outcome !== "done")).toEqual([]);
    expect(outage.peakInFlight).toBe(maxSourceConcurrency);
    expect(outage.updates.map(({ outcome }) => outcome)).toEqual(caches.map(() => "UNAVAILABLE"));
    expect(outage.saves).toBe(0);

    // It is back, and nobody has to be started anew.
    await untilCached(caches, history, ids);
    await updateOnAll(ids);
    await untilCached(caches, history, ids);
    expect(history.violations).toEqual([]);
  });
}

test("while Redis is 100 ms away reads are answered by it, and updates succeed", async () => {
  const ids = await cachedIds(40);
  const delayedBefore = proxy.counts.delayedChunks;
  await proxy.set({ delayMs: 100 });
  try {
    const loadsBefore = records.loads;
    await Promise.all(caches.map((cache) => history.read(cache, ...ids)));
    expect(records.loads).toBe(loadsBefore);
    await updateOnAll(ids);
    await Promise.all(caches.map((cache) => history.read(cache, ...ids)));
    expect(proxy.counts.delayedChunks).toBeGreaterThan(delayedBefore);
  } finally {
    await proxy.set("pass");
  }
  expect(history.violations).toEqual([]);
});

test("a write during which Redis starts anew, empty, leaves nothing stale", async () => {
  const servers = caches.map(({ server }) => server);
  const product = await loadProduct("lockstep");
  const { violations } = await writeAcrossRestart(
    fleet,
    await fleet.openOn(servers, { product, records: new Records() }),
  );
  expect(violations).toEqual([]);
});
