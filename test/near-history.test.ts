import { beforeAll, expect, test } from "vitest";
import { buildServer, buildSource } from "./harness/histories/build-server.ts";
import { faultsOf } from "./harness/histories/faults.ts";
import { reportRun, runHistory, type RunOptions, shortfalls } from "./harness/histories/run.ts";
import type { Coherence } from "./harness/histories/settings.ts";

let programs: RunOptions["programs"];
beforeAll(async () => {
  programs = { server: await buildServer(), source: await buildSource() };
});

async function run(coherence: Coherence, options: Partial<RunOptions> = {}) {
  return runHistory({
    ...{ coherence, programs, servers: 3, clients: 16, operationsPerSecond: 700, keys: 50, writeShare: 0.07 },
    ...{ minutes: 0, rounds: 2, calmMs: 1_000 },
    faults: () => [],
    ...options,
  });
}

test("near copies that are strict are linearizable under each fault", { timeout: 90_000 }, async () => {
  const result = await run("near", {
    faults: (deployment) => faultsOf(deployment, { stoppedMs: 3_000, blackHoleMs: 2_000, blockedMs: 3_000 }),
  });
  await reportRun("near-history", "Reads and writes of three servers with near copies, under faults", result);
  expect(result.details).toEqual([]);
  expect(result.violations).toBe(0);
  expect(shortfalls(result, { nearHitShare: 1 / 3, writeShare: 0.05, strikes: 1, operations: 20_000 })).toEqual([]);
});

test("copies that are bounded are caught", { timeout: 60_000 }, async () => {
  const result = await run("bounded", { minutes: 0.15, rounds: 1, keys: 8 });
  expect(result.violations).toBeGreaterThan(0);
});

test("without near copies nothing is answered from memory, and nothing is stale", { timeout: 60_000 }, async () => {
  const result = await run("shared", { minutes: 0.15, rounds: 1 });
  expect(result.nearHits).toBe(0);
  expect(result.details).toEqual([]);
});
