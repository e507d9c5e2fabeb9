import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  cart,
  failedSave,
  lostUpdate,
  lostUpdateOfPage,
  type Anomaly,
  type Outcome,
  redirectRace,
  revival,
  slowedServer,
} from "./harness/anomalies.ts";
import {
  repository,
  type SessionStack,
  sessionStacks,
  type Stack,
  startSharedDatabase,
  startStack,
} from "./harness/stack.ts";

/** Each anomaly, and the rung of the ladder that brings the rule against it. */
const rows: readonly { name: string; run: Anomaly; keptFrom: SessionStack }[] = [
  { name: "cart", run: cart, keptFrom: "store" },
  { name: "lost-update", run: lostUpdate, keptFrom: "store" },
  { name: "lost-update, one page", run: lostUpdateOfPage, keptFrom: "store" },
  { name: "revival", run: revival, keptFrom: "store" },
  { name: "redirect-race", run: redirectRace, keptFrom: "middleware" },
  { name: "failed-save", run: failedSave, keptFrom: "middleware" },
];

const outcomes = new Map<string, Partial<Record<SessionStack, Outcome>>>(rows.map(({ name }) => [name, {}]));

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(async () => {
  await database.stop();
  await report();
});

describe.each(sessionStacks)("on %s", (sessionStack) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sessionStack, databaseUrl: database.url, proxied: [slowedServer] });
  });
  afterAll(() => stack.stop());

  for (const { name, run, keptFrom } of rows) {
    const isKept = sessionStacks.indexOf(sessionStack) >= sessionStacks.indexOf(keptFrom);
    test(`${name} ${isKept ? "never happens" : "happens: this rung lacks the rule against it"}`, async () => {
      const outcome = await run(stack);
      Object.assign(outcomes.get(name) ?? {}, { [sessionStack]: outcome });
      if (isKept) expect(outcome.violations, outcome.detail).toBe(0);
      else expect(outcome.violations, outcome.detail).toBeGreaterThan(0);
    });
  }
});

describe("on middleware with near copies", () => {
  let stack: Stack;
  beforeAll(async () => {
    const proxied = [slowedServer];
    stack = await startStack({ sessionStack: "middleware", nearCopies: "on", databaseUrl: database.url, proxied });
  });
  afterAll(() => stack.stop());

  // Two more know that a session was loaded by Redis having been asked, which it is not here: packages/session-store/test/near-*.test.ts has the like.
  for (const { name, run } of rows.filter(({ name }) => name !== "lost-update" && name !== "revival")) {
    test(`${name} never happens`, async () => {
      const { violations, detail } = await run(stack);
      expect(violations, detail).toBe(0);
    });
  }
});

/** The ladder's table: what each rung loses, printed and kept in .lockstep/report. */
async function report(): Promise<void> {
  const cell = (outcome: Outcome | undefined) =>
    outcome === undefined ? "not run" : `${outcome.violations}/${outcome.attempts}`;
  const table = [
    `| anomaly | ${sessionStacks.join(" | ")} |`,
    `| --- |${sessionStacks.map(() => " --: |").join("")}`,
    ...[...outcomes].map(
      ([name, row]) => `| ${name} | ${sessionStacks.map((stack) => cell(row[stack])).join(" | ")} |`,
    ),
  ].join("\n");
  const details = [...outcomes].flatMap(([name, row]) =>
    sessionStacks.flatMap((stack) => (row[stack] === undefined ? [] : `- ${name} on ${stack}: ${row[stack].detail}`)),
  );
  const folder = join(repository, ".lockstep/report");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "anomalies.json"), `${JSON.stringify(Object.fromEntries(outcomes), undefined, 2)}\n`);
  await writeFile(
    join(folder, "anomalies.md"),
    `# What each rung of the ladder loses\n\nViolations of attempts, three servers.\n\n${table}\n\n${details.join("\n")}\n`,
  );
  console.log(`\nViolations of attempts, three servers:\n\n${table}\n`);
}
