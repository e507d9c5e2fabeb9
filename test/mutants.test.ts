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
import { type ProfileWrites, startSharedDatabase, startStack } from "./harness/stack.ts";
import { staleProfile } from "./harness/stale-profile.ts";

interface Mutant {
  readonly anomaly: Anomaly;
  readonly rule: string;
  readonly of: "cache" | "session-store";
  readonly profileWrites?: ProfileWrites;
  readonly mutation: Mutation;
}

const mutants: readonly Mutant[] = [
  {
    anomaly: lostUpdate,
    rule: "a changed record is never overwritten unseen (S1)",
    of: "session-store",
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
    of: "session-store",
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
    of: "session-store",
    mutation: {
      name: "revival",
      file: "lua/commit.lua",
      cut: 'if current == "" or (ARGV[1] ~= "" and not current) then\n  return "gone"\nend\n',
      // What a destroyed session leaves is overwritten too.
      instead: 'if current == "" then\n  current = ARGV[1]\nend\n',
    },
  },
  {
    anomaly: redirectRace,
    rule: "headers wait for the commit (S4)",
    of: "session-store",
    mutation: {
      name: "redirect-race",
      file: "src/request-session.ts",
      cut: "return commit ? this.#leaveChanged(session, tracker, commit) : this.#leaveUnchanged(session, tracker);",
      instead: `if (!commit) return this.#leaveUnchanged(session, tracker);
    commit.catch(() => undefined);
    this.#send(this.#cookieFor(session, tracker));
    return undefined;`,
    },
  },
  {
    anomaly: failedSave,
    rule: "a failed commit replaces the handler's answer (S4)",
    of: "session-store",
    mutation: {
      name: "failed-save",
      file: "src/response-gate.ts",
      cut: "this.#refuse(error);",
      instead: "this.#release(drain);",
    },
  },
  {
    anomaly: staleProfile,
    rule: "a write that begins drops the entry (C4)",
    of: "cache",
    profileWrites: "cache-aside",
    mutation: {
      name: "stale-profile",
      file: "lua/begin.lua",
      cut: 'redis.call("DEL", KEYS[1])\n',
      instead: "",
    },
  },
  {
    anomaly: staleProfile,
    rule: "an update marks its entry as pending before it writes (F9)",
    of: "cache",
    profileWrites: "write-through",
    mutation: {
      name: "unmarked-update",
      file: "src/collection.ts",
      cut: "return this.#writer.update(this.#keysOf(id), write);",
      instead: `const context = { deadline: performance.now() + 4_000, signal: new AbortController().signal };
    return write(context) as Promise<Readonly<T> | undefined>;`,
    },
  },
];

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database.stop());

for (const { anomaly, rule, of, profileWrites, mutation } of mutants) {
  test(`${mutation.name} is seen happening once this rule is taken out: ${rule}`, async () => {
    const stack = await startStack({
      sessionStack: "middleware",
      ...(profileWrites && { profileWrites }),
      databaseUrl: database.url,
      proxied: [slowedServer],
      entry: await buildMutant(of, mutation),
    });
    try {
      const { violations, detail } = await anomaly(stack);
      expect(violations, detail).toBeGreaterThan(0);
    } finally {
      await stack.stop();
    }
  });
}
