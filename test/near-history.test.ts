import { beforeAll, expect, test } from "vitest";
import { buildServer, buildSource } from "./harness/histories/build-server.ts";
import type { FaultTimes } from "./harness/histories/faults.ts";
import { reportRun, runHistory, type RunOptions, shortfalls } from "./harness/histories/run.ts";
import type { Coherence } from "./harness/histories/settings.ts";

const times: FaultTimes = { stoppedMs: 3_000, blackHoleMs: 2_000, blockedMs: 3_000 };
let programs: RunOptions["programs"];
beforeAll(async () => {
  programs = { server: await buildServer(), source: await buildSource() };
});

async function run(coherence: Coherence, options: Partial<RunOptions> = {}) {
  return runHistory({
    ...{ coherence, programs, servers: 3, clients: 16, operationsPerSecond: 400, keys: 50, writeShare: 0.06 },
    ...{ minutes: 0, rounds: 1, calmMs: 1_000 },
    ...options,
  });
}

test("near copies that are strict are linearizable under each fault", { timeout: 90_000 }, async () => {
  const result = await run("near", { times });
  await reportRun("near-history", "Reads and writes of three servers with near copies, under faults", result);
  expect(result.details).toEqual([]);
  expect(result.violations).toBe(0);
  expect(shortfalls(result, { nearHitShare: 1 / 3, writeShare: 0.05, strikes: 1, operations: 20_000 })).toEqual([]);
});

test("copies that are bounded are caught", { timeout: 60_000 }, async () => {
  const result = await run("bounded", { minutes: 0.15, keys: 8 });
  expect(result.violations).toBeGreaterThan(0);
});
