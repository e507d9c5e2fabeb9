import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { smallHistories } from "./harness/histories/arbitrary-histories.ts";
import type * as Check from "./harness/histories/linearizability.ts";
import { isLinearizable, orderOfVersions } from "./harness/histories/wing-gong.ts";
import { repository } from "./harness/stack.ts";

interface Cut {
  readonly rule: string;
  readonly name: string;
  readonly cut: string;
  readonly instead: string;
}

const cuts: readonly Cut[] = [
  {
    rule: "a read stands behind its write",
    name: "read-beside-write",
    cut: "rank: 2 * version + 1 }",
    instead: "rank: 2 * version }",
  },
  {
    rule: "what was there before a call is not missed",
    name: "one-rank-missed",
    cut: "highest.rank <= rank",
    instead: "highest.rank <= rank + 1",
  },
  {
    rule: "operations that touch overlap",
    name: "touch-is-after",
    cut: "next.operation.returnedAt < operation.calledAt",
    instead: "next.operation.returnedAt <= operation.calledAt",
  },
  {
    rule: "a write that nobody saw, and nobody knows the end of, may never have been",
    name: "unseen-write-counts",
    cut: "(returnedAt === never && !seen.has(version))",
    instead: "false",
  },
  {
    rule: "a version that is read was written",
    name: "any-version-exists",
    cut: "version !== 0 && write === undefined",
    instead: "false",
  },
  {
    rule: "of several ends the one called first counts",
    name: "any-end-counts",
    cut: "operation.calledAt < other.calledAt",
    instead: "operation.calledAt > other.calledAt",
  },
  {
    rule: "an end after the end changes nothing",
    name: "each-end-is-a-write",
    cut: "writes.get(version) === operation || version !== gone",
    instead: "true",
  },
];

for (const { rule, name, cut, instead } of cuts) {
  test(`without "${rule}" the check and the search differ`, async () => {
    const text = await readFile(join(repository, "test/harness/histories/linearizability.ts"), "utf8");
    expect(text.split(cut)).toHaveLength(2);
    const folder = join(repository, ".lockstep/mutants");
    await mkdir(folder, { recursive: true });
    const path = join(folder, `linearizability-${name}.ts`);
    await writeFile(path, text.replace(cut, instead));
    const { violationsOf } = (await import(pathToFileURL(path).href)) as typeof Check;
    const agree = fc.property(
      smallHistories,
      (history) => isLinearizable(history, orderOfVersions) === (violationsOf(history).length === 0),
    );
    expect(fc.check(agree, { numRuns: 20_000 }).failed).toBe(true);
  });
}
