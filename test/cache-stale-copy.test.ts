import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { loadProduct, loadProducts } from "./harness/cache/products.ts";
import { report } from "./harness/cache/report.ts";
import { askedAfterMs, type StaleCopies, staleCopy } from "./harness/cache/stale-copy.ts";
import { buildProgram } from "./harness/mutant.ts";

/** `STALE_COPY_ROUNDS=100000 npm test -- test/cache-stale-copy.test.ts` takes some minutes. */
const rounds = Number(process.env.STALE_COPY_ROUNDS ?? 5_000);
const timeout = 60_000 + rounds * 10;

const lockstep = await loadProduct("lockstep, near copies");
const peers = await loadProducts("bentocache", "cacheable");
const withoutCopies = await loadProducts("bentocache, L2 only", "cacheable, L2 only", "lockstep");
const outcomes = new Map<CacheProduct, StaleCopies>();

let fleet: Fleet;
let servers: CacheServer[];
beforeAll(async () => {
  fleet = await Fleet.start();
  servers = fleet.startServers(await buildWorker(), 3);
});
afterAll(async () => {
  await fleet.stop();
  await report("cache-stale-copy", {
    title: "Reads of another server that are older than a write which had returned: three servers",
    columns: ["product", ...askedAfterMs.map((ms) => `after ${ms} ms`), "of"],
    rows: [...outcomes].map(([{ name }, { rounds: counted, stale }]) => [name, ...stale, counted]),
    details: [...outcomes.keys()].map(({ name, version, configuration }) => `${name} ${version}: ${configuration}`),
  });
});

function measure(product: CacheProduct, on: readonly CacheServer[], count: number): Promise<StaleCopies> {
  return staleCopy((records) => fleet.openOn(on, { product, records }), { rounds: count });
}

test(`lockstep with near copies shows nothing old in ${rounds} rounds`, { timeout }, async () => {
  const outcome = await measure(lockstep, servers, rounds);
  outcomes.set(lockstep, outcome);
  expect(outcome.rounds).toBe(rounds);
  expect(outcome.stale).toEqual(askedAfterMs.map(() => 0));
});

for (const product of peers) {
  test(`${product.name} ${product.version} shows old values from its copies`, { timeout }, async () => {
    const outcome = await measure(product, servers, 500);
    outcomes.set(product, outcome);
    expect(outcome.stale[0]).toBeGreaterThan(0);
  });
}

// What a shared tier alone does is not what this is about: it is told, and nothing is expected of others.
for (const product of withoutCopies) {
  test(`${product.name} without copies is measured too`, { timeout }, async () => {
    const outcome = await measure(product, servers, 500);
    outcomes.set(product, outcome);
    expect(outcome.rounds).toBe(500);
  });
}

test("old values are noticed once a write does not wait for the others", { timeout }, async () => {
  const program = await buildProgram(
    "test/harness/cache/worker.ts",
    "near-cache",
    {
      name: "stale-copy-no-wait",
      file: "src/revocations.ts",
      cut: "if (silent.length === 0)",
      instead: "if (silent.length >= 0)",
    },
    ["cache"],
  );
  const { stale } = await measure(lockstep, fleet.startServers(program, 3), 2_000);
  expect(stale.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
});
