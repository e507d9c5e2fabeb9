import { expect, test } from "vitest";
import { buildServer, buildSource } from "./harness/histories/build-server.ts";
import type { Deployment } from "./harness/histories/deployment.ts";
import { type Fault, faultsOf } from "./harness/histories/faults.ts";
import { runHistory } from "./harness/histories/run.ts";
import type { Mutation } from "./harness/mutant.ts";

const mutations: readonly (Mutation & { readonly rule: string; readonly of: "cache" | "near-cache" })[] = [
  {
    rule: "C1: copies are served under a lease that ends",
    name: "history-endless-lease",
    of: "near-cache",
    file: "src/lease.ts",
    cut: "return now < this.#endsAt && Date.now() < this.#wallEndsAt;",
    instead: "return this.#endsAt > -Infinity;",
  },
  {
    rule: "C3: a write waits for who has not answered",
    name: "history-no-wait",
    of: "near-cache",
    file: "src/revocations.ts",
    cut: "if (silent.length === 0)",
    instead: "if (silent.length >= 0)",
  },
  {
    rule: "C5: who joins drops its copies",
    name: "history-join-keeps-copies",
    of: "near-cache",
    file: "src/membership.ts",
    cut: "    this.#holders.empty();\n    const own",
    instead: "    const own",
  },
  {
    rule: "C2: a write revokes at the others",
    name: "history-not-asked",
    of: "cache",
    file: "src/others.ts",
    cut: "if (this.#near && joining) {",
    instead: "if (this.#near && joining && what === undefined) {",
  },
];

/** All of these show where a server is cut off while others write. */
function cutOffs(deployment: Deployment): Fault[] {
  const times = { stoppedMs: 2_000, blackHoleMs: 2_000, blockedMs: 2_000 };
  return faultsOf(deployment, times).filter(({ name }) => name === "server cut off from Redis");
}

for (const { rule, of, ...mutation } of mutations) {
  test(`without "${rule}" stale reads are found`, async () => {
    const result = await runHistory({
      ...{ coherence: "near", servers: 3, clients: 16, operationsPerSecond: 400, keys: 20, writeShare: 0.06 },
      programs: { server: await buildServer(of, mutation), source: await buildSource() },
      ...{ minutes: 0, rounds: 3, calmMs: 1_500, faults: cutOffs },
    });
    expect(result.violations).toBeGreaterThan(0);
  });
}
