import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheProduct } from "../bench/peers/product.ts";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheOnServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { chunks, inParallel } from "./harness/cache/in-parallel.ts";
import { loadProduct } from "./harness/cache/products.ts";
import { Records } from "./harness/cache/records.ts";
import { report } from "./harness/cache/report.ts";

/** The working set: 16 MiB of values. */
const ids = Array.from({ length: 4_096 }, (_, index) => `record-${index}`);
const valueBytes = 4_096;
const workingSetBytes = ids.length * valueBytes;
const mebibyte = 1_048_576;

interface Measured {
  /** Values that the fourth server had from the source while it read the whole working set. */
  readonly joiningLoads: number;
  /** What each server's heap grew by, from an open cache to one that has served the working set. */
  readonly heapGrowths: readonly number[];
  readonly residentGrowths: readonly number[];
  readonly redisGrowth: number;
}

const measured = new Map<string, Measured>();
const inProcess = await loadProduct("in-process Map");
const lockstep = await loadProduct("lockstep, brief");

let fleet: Fleet;
let program: string;
beforeAll(async () => {
  fleet = await Fleet.start();
  program = await buildWorker();
});
afterAll(async () => {
  await fleet.stop();
  const mebibytes = (bytes: number) => (bytes / mebibyte).toFixed(1);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  await report("cache-sharing", {
    title: `A working set of ${mebibytes(workingSetBytes)} MiB (${ids.length} values), three warm servers and a fourth that joins`,
    columns: ["cache", "loads by the fourth", "heap a server, MiB", "resident a server, MiB", "Redis, MiB"],
    rows: [...measured].map(([name, { joiningLoads, heapGrowths, residentGrowths, redisGrowth }]) => [
      name,
      joiningLoads,
      mebibytes(mean(heapGrowths)),
      mebibytes(mean(residentGrowths)),
      mebibytes(redisGrowth),
    ]),
    details: ["heap and resident: growth of the process while it served the working set, after a garbage collection"],
  });
});

async function measure(product: CacheProduct): Promise<Measured> {
  const records = new Records();
  for (const id of ids) records.commit(id, records.nextValue({ text: "x".repeat(valueBytes) }));
  const servers = fleet.startServers(program, 3);
  const caches = await fleet.openOn(servers, { product, records });
  const before = await Promise.all(servers.map((server) => server.memory()));
  const redisBefore = await redisBytes();

  for (const cache of caches) await readAll(cache, records);
  const after = await Promise.all(servers.map((server) => server.memory()));
  const redisAfter = await redisBytes();

  const fourth = await fleet.join(caches);
  const loadsBefore = records.loads;
  await readAll(fourth, records);
  return {
    joiningLoads: records.loads - loadsBefore,
    heapGrowths: after.map(({ heapBytes }, index) => heapBytes - (before[index]?.heapBytes ?? 0)),
    residentGrowths: after.map(({ residentBytes }, index) => residentBytes - (before[index]?.residentBytes ?? 0)),
    redisGrowth: redisAfter - redisBefore,
  };
}

async function readAll(cache: CacheOnServer, records: Records): Promise<void> {
  await inParallel(chunks(ids, 64), 4, async (some) => {
    const values = await cache.getMany(some);
    expect(values.map((value) => value?.version)).toEqual(some.map((id) => records.current(id)?.version));
  });
}

async function redisBytes(): Promise<number> {
  const [, bytes] = /^used_memory:(\d+)/m.exec(await fleet.redis.info("memory")) ?? [];
  return Number(bytes);
}

test("without sharing, a server that joins loads the whole working set, and each server keeps all of it", async () => {
  const found = await measure(inProcess);
  measured.set(inProcess.name, found);
  expect(found.joiningLoads).toBe(ids.length);
  for (const growth of found.heapGrowths) expect(growth).toBeGreaterThan(workingSetBytes);
});

test("with sharing, a server that joins loads nothing, and Redis keeps the working set once for all", async () => {
  const found = await measure(lockstep);
  measured.set(lockstep.name, found);
  expect(found.joiningLoads).toBe(0);
  for (const growth of found.heapGrowths) expect(growth).toBeLessThan(workingSetBytes / 2);
  expect(found.redisGrowth).toBeGreaterThan(workingSetBytes);
  expect(found.redisGrowth).toBeLessThan(2 * workingSetBytes);
});
