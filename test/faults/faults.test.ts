import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { faults } from "../harness/faults/faults.ts";
import { reliabilityReport } from "../harness/faults/reliability.ts";
import { type FaultResult, runFault, violationsOf } from "../harness/faults/run-fault.ts";
import { keepPart, redisVersion } from "../harness/long-run.ts";
import { startSharedDatabase } from "../harness/stack.ts";

const results: FaultResult[] = [];
let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(async () => {
  await database.stop();
  const isWhole = results.filter(({ product }) => product === "Lockstep").length === rows.length;
  keepPart("faults", isWhole ? reliabilityReport(faults, results, redisVersion()) : undefined);
});

const rows = faults.flatMap((fault) => fault.on.map((topology) => ({ ...fault, topology })));

describe("under load", () => {
  for (const { topology, ...fault } of rows) {
    test(`${topology}: ${fault.name}`, async () => {
      const run = { topology, databaseUrl: database.url };
      const result = await runFault(fault, { ...run, sessionStack: "middleware" });
      results.push(result);
      expect(violationsOf(fault, result)).toEqual([]);
      if (fault.peer !== false) results.push(await runFault(fault, { ...run, sessionStack: "connect-redis" }));
    });
  }
});
