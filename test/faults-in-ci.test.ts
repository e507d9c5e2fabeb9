import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Fault, FaultTopology } from "./harness/faults/fault.ts";
import { faults } from "./harness/faults/faults.ts";
import { runFault, violationsOf } from "./harness/faults/run-fault.ts";
import { buildMutant } from "./harness/mutant.ts";
import { startSharedDatabase } from "./harness/stack.ts";

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database.stop());

/** Those that fit the time: of each kind of fault, and of each topology. `npm run test:faults` runs all. */
const chosen: readonly { readonly topology: FaultTopology; readonly name: string }[] = [
  { topology: "single", name: "a web server is killed, and started again" },
  { topology: "single", name: "a web server stands still for 1,000 ms" },
  { topology: "single", name: "the state Redis is killed, and starts again with its append-only file" },
  { topology: "single", name: "one in 40 replies of the state Redis is cut in the middle" },
  { topology: "single", name: "replies of the state Redis come 700 ms late" },
  { topology: "single", name: "connections of near copies alone are reset" },
  { topology: "single", name: "answers of the database are lost, after it has committed" },
  { topology: "sentinel", name: "the primary behind Sentinel is killed, changes on 1 replica" },
  { topology: "cluster", name: "a primary of the Cluster is killed, changes on 1 replica" },
  { topology: "memcached", name: "a Memcached is killed, and starts again empty" },
];

describe("people who use the app while something fails are told nothing that is not so, in bounded time", () => {
  test.each(chosen)(
    "$topology, $name",
    async ({ topology, name }) => {
      const fault = named(name, topology);
      const result = await runFault(fault, { topology, sessionStack: "middleware", databaseUrl: database.url });
      expect(violationsOf(fault, result)).toEqual([]);
    },
    120_000,
  );
});

describe("a fault's row fails", () => {
  test("where something is broken: with leases that do not end, what a silent connection does not tell one server is not seen there", async () => {
    const fault = named("connections of one server's near copies alone are silent", "single");
    const entry = await buildMutant("near-cache", {
      name: "fault-endless-lease",
      file: "src/lease.ts",
      cut: "return now < this.#endsAt && Date.now() < this.#wallEndsAt;",
      instead: "return true;",
    });
    const run = { topology: "single", sessionStack: "middleware", databaseUrl: database.url, entry } as const;
    const result = await runFault(fault, run);
    expect(result.broken.stale).toBeGreaterThan(0);
    expect(violationsOf(fault, result).join()).toContain("stale");
  }, 120_000);

  test("where it did not happen", async () => {
    const fault: Fault = { name: "nothing at all", on: ["single"], lastsMs: 0, begin: async () => ({ seen: () => 0 }) };
    const run = { topology: "single", sessionStack: "middleware", databaseUrl: database.url } as const;
    const failure: unknown = await runFault(fault, run).catch((error: unknown) => error);
    expect((failure as Error).cause).toEqual(new Error('The fault "nothing at all" did not happen.'));
  }, 120_000);
});

function named(name: string, topology: FaultTopology): Fault {
  const fault = faults.find((each) => each.name === name && each.on.includes(topology));
  if (fault === undefined) throw new Error(`There is no such fault: "${name}".`);
  return fault;
}
