import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failovers, type LossResult, runLoss, settingsOf } from "../harness/faults/losses.ts";
import { lossesReport } from "../harness/faults/reliability.ts";
import { keepPart } from "../harness/long-run.ts";
import { startSharedDatabase } from "../harness/stack.ts";

const results: LossResult[] = [];
let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(async () => {
  await database.stop();
  keepPart("losses", results.length === rows.length ? lossesReport(results) : undefined);
});

const rows = failovers.flatMap((failover) => settingsOf(failover.topology).map((setting) => ({ failover, setting })));

describe("changes of sessions that were acknowledged", () => {
  for (const { failover, setting } of rows) {
    test(`${failover.topology}, ${failover.name}: ${setting.name}`, async () => {
      const result = await runLoss(failover, setting, database.url);
      results.push(result);
      expect(result.acknowledged).toBeGreaterThan(500);
      expect(result.longestMs).toBeLessThan(9_000);
      const all = failover.topology === "sentinel" ? 2 : 1;
      const isPromised = setting.stateReplicas === all || (setting.stateReplicas > 0 && failover.name !== "planned");
      if (isPromised) expect(result.lost).toBe(0);
    });
  }

  test("without waiting for replicas some of them are lost, or the others would show nothing", () => {
    const lost = (waits: boolean) =>
      results.filter(({ setting }) => setting.includes("replicas") === waits).reduce((sum, each) => sum + each.lost, 0);
    expect(lost(false)).toBeGreaterThan(lost(true));
  });
});
