import { buildServer, buildSource } from "./build-server.ts";
import { faultsOf } from "./faults.ts";
import { reportRun, runHistory, shortfalls } from "./run.ts";
import type { Coherence } from "./settings.ts";

/**
 * Runs three servers under all faults for so many minutes, and tells what was found.
 *
 * @returns whether nothing is wrong, and the run had enough of everything to say so
 */
export async function longRun({ minutes, coherence }: { minutes: number; coherence: Coherence }): Promise<boolean> {
  const result = await runHistory({
    ...{ coherence, minutes, rounds: 1, calmMs: 2_000 },
    ...{ servers: 3, clients: 16, operationsPerSecond: 800, keys: 50, writeShare: 0.065 },
    programs: { server: await buildServer(), source: await buildSource() },
    faults: (deployment) => faultsOf(deployment, { stoppedMs: 10_000, blackHoleMs: 4_000, blockedMs: 3_000 }),
  });
  await reportRun(`history-${coherence}`, `Reads and writes of three servers under faults (${coherence})`, result);
  // A round of all faults takes less than a minute. Of its strikes a few come when the write has just ended.
  const strikes = Math.max(1, Math.floor(minutes / 2));
  const nearHitShare = coherence === "near" ? 1 / 3 : 0;
  const lacking = shortfalls(result, { nearHitShare, writeShare: 0.05, strikes, operations: minutes * 50_000 });
  if (lacking.length > 0) console.error(`The run says nothing, as it lacks:\n  ${lacking.join("\n  ")}`);
  return lacking.length === 0 && result.violations === 0;
}
