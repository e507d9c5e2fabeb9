import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Anomaly,
  cart,
  failedSave,
  lostUpdate,
  redirectRace,
  revival,
  slowedServer,
} from "./harness/anomalies.ts";
import { buildMutant, type Mutation } from "./harness/mutant.ts";
import { startSharedDatabase, startStack } from "./harness/stack.ts";

const mutants: readonly { anomaly: Anomaly; rule: string; mutation: Mutation }[] = [
  {
    anomaly: lostUpdate,
    rule: "a changed record is never overwritten unseen (S1)",
    mutation: {
      name: "lost-update",
      file: "lua/commit.lua",
      cut: 'if current and current ~= ARGV[1] then\n  return { "conflict", current }\nend\n',
      instead: "",
    },
  },
  {
    anomaly: cart,
    rule: "both appended: both stay (S2)",
    mutation: {
      name: "cart",
      file: "src/merge.ts",
      cut: "return [...theirs, ...mine.slice(base.length)];",
      instead: "return undefined;",
    },
  },
  {
    anomaly: revival,
    rule: "a record that is gone is never written again (S3)",
    mutation: {
      name: "revival",
      file: "lua/commit.lua",
      cut: 'if ARGV[1] ~= "" and not current then\n  return "gone"\nend\n',
      instead: "",
    },
  },
  {
    anomaly: redirectRace,
    rule: "headers wait for the commit (S4)",
    mutation: {
      name: "redirect-race",
      file: "src/request-session.ts",
      cut: "return this.#leaveChanged(session, tracker, isNew);",
      instead: `this.#send(this.#cookieFor(session, tracker));
    this.#sessions.commit(tracker, session).catch(() => undefined);
    return undefined;`,
    },
  },
  {
    anomaly: failedSave,
    rule: "a failed commit replaces the handler's answer (S4)",
    mutation: {
      name: "failed-save",
      file: "src/response-gate.ts",
      cut: "this.#refuse(error);",
      instead: "this.#release(drain);",
    },
  },
];

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database.stop());

for (const { anomaly, rule, mutation } of mutants) {
  test(`${mutation.name} is seen happening once this rule is taken out: ${rule}`, async () => {
    const stack = await startStack({
      sessionStack: "middleware",
      databaseUrl: database.url,
      proxied: [slowedServer],
      entry: await buildMutant(mutation),
    });
    try {
      const { violations, detail } = await anomaly(stack);
      expect(violations, detail).toBeGreaterThan(0);
    } finally {
      await stack.stop();
    }
  });
}
