import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "./harness/cache/random.ts";
import { smallHistories } from "./harness/histories/arbitrary-histories.ts";
import { gone, never, type Operation, violationsOf } from "./harness/histories/linearizability.ts";
import { describeViolations } from "./harness/histories/violation-report.ts";
import { anyOrder, isLinearizable, orderOfVersions } from "./harness/histories/wing-gong.ts";

/** A correct history of one key: each operation takes effect at a moment within its call, and one write in 20 is not answered. */
function correctHistory(length: number, seed: number): Operation[] {
  const random = seededRandom(seed);
  let version = 0;
  return Array.from({ length }, (_, index) => {
    const effectAt = (index + 1) * 1_000;
    const isWrite = random() < 0.05;
    if (isWrite) version += 1;
    return {
      kind: isWrite ? "write" : "read",
      calledAt: Math.floor(effectAt - random() * 10_000),
      returnedAt: isWrite && random() < 0.05 ? never : Math.ceil(effectAt + random() * 10_000),
      version,
      by: `server ${(index % 3) + 1}`,
    };
  });
}

describe("the fast check and the search", () => {
  test("agree on 20,000 small histories, whatever their verdict", () => {
    const verdicts = { possible: 0, impossible: 0 };
    fc.assert(
      fc.property(smallHistories, (history) => {
        const possible = isLinearizable(history, orderOfVersions);
        verdicts[possible ? "possible" : "impossible"] += 1;
        expect(violationsOf(history).length === 0).toBe(possible);
      }),
      { numRuns: 20_000 },
    );
    expect(Math.min(verdicts.possible, verdicts.impossible)).toBeGreaterThan(1_500);
  });

  test("differ in nothing but the order of the writes: what passes the check passes the search in any order", () => {
    fc.assert(
      fc.property(smallHistories, (history) => {
        fc.pre(violationsOf(history).length === 0);
        expect(isLinearizable(history, anyOrder)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("agree in any order where no two writes overlap, as there is but one order then", () => {
    let impossible = 0;
    fc.assert(
      fc.property(smallHistories, (history) => {
        const writes = history.filter(({ kind }) => kind === "write");
        fc.pre(writes.every((one) => writes.every((other) => one === other || follow(one, other))));
        const possible = isLinearizable(history, anyOrder);
        if (!possible) impossible += 1;
        expect(violationsOf(history).length === 0).toBe(possible);
      }),
      { numRuns: 3_000 },
    );
    expect(impossible).toBeGreaterThan(300);
  });
});

/** Whether one had returned before the other was called, and has the lower version. */
function follow(one: Operation, other: Operation): boolean {
  const [first, second] = one.calledAt < other.calledAt ? [one, other] : [other, one];
  return first.returnedAt < second.calledAt && (first.version ?? 0) < (second.version ?? 0);
}

describe("a planted error", () => {
  const by = "server 1";
  const first: Operation = { kind: "write", calledAt: 1e6, returnedAt: 2e6, version: 1, by };
  const second: Operation = { kind: "write", calledAt: 5e6, returnedAt: 6e6, version: 2, by: "server 2" };

  function told(...others: Operation[]): string {
    return describeViolations("key 7", violationsOf([first, second, ...others]));
  }

  function reading(version: number, calledAtMs: number): Operation {
    return { kind: "read", calledAt: calledAtMs * 1e6, returnedAt: (calledAtMs + 1) * 1e6, version, by: "server 3" };
  }

  test("is in none of the correct histories", () => {
    expect(violationsOf([first, second, reading(1, 3), reading(2, 5.5), reading(1, 5.4), reading(2, 9)])).toEqual([]);
    for (let seed = 1; seed <= 20; seed += 1) expect(violationsOf(correctHistory(5_000, seed))).toEqual([]);
  });

  test("of a stale read after a write is found and told of", () => {
    expect(told(reading(1, 8.5))).toBe(
      "key 7: 1 violations\n" +
        "  - the read of version 1 by server 3, from 8.500 ms to 9.500 ms is stale: " +
        "the write of version 2 by server 2, from 5.000 ms to 6.000 ms, had returned 2.500 ms before it was called.",
    );
  });

  test("of a stale read after a read that was newer, while the write is pending, is found", () => {
    const pending = { ...second, returnedAt: never };
    const newer = reading(2, 6);
    const stale = reading(1, 7.5);
    expect(violationsOf([first, pending, newer, stale])).toEqual([{ kind: "stale", operation: stale, proof: newer }]);
    expect(violationsOf([first, pending, newer, reading(1, 6.5)])).toEqual([]);
  });

  test("of a read from the future is found and told of", () => {
    expect(told(reading(2, 3))).toContain(
      "  - the read of version 2 by server 3, from 3.000 ms to 4.000 ms is from the future: " +
        "the write of version 2 by server 2, from 5.000 ms to 6.000 ms, was called 1.000 ms after it had returned.",
    );
  });

  test("of a lost write is found: what was there before it is still read", () => {
    const lost = reading(0, 20);
    expect(violationsOf([first, lost])).toEqual([{ kind: "stale", operation: lost, proof: first }]);
  });

  test("of a version that never was is found and told of", () => {
    expect(told(reading(9, 7))).toContain("by server 3, from 7.000 ms to 8.000 ms gave a version that nobody has");
  });

  test("of a version that was given twice, or out of order, is found", () => {
    const again: Operation = { ...first, calledAt: 8e6, returnedAt: 9e6 };
    expect(violationsOf([first, second, again]).map(({ kind }) => kind)).toEqual(["twice", "order"]);
    const late: Operation = { ...again, version: 1.5 };
    expect(violationsOf([first, second, late])).toEqual([{ kind: "order", operation: late, proof: second }]);
  });

  test("of a destroyed value that comes back is found, and of a write after its end", () => {
    const end: Operation = { ...second, version: gone };
    const back = reading(1, 7);
    expect(violationsOf([first, end, reading(gone, 5.5), reading(gone, 7)])).toEqual([]);
    expect(violationsOf([first, end, { ...end, calledAt: 8e6, returnedAt: 9e6 }])).toEqual([]);
    expect(violationsOf([first, end, back])).toEqual([{ kind: "stale", operation: back, proof: end }]);
    const revived: Operation = { ...first, version: 3, calledAt: 8e6, returnedAt: 9e6 };
    expect(violationsOf([first, end, revived])).toEqual([{ kind: "order", operation: revived, proof: end }]);
  });

  test("is found wherever it is planted in a correct history, and ten of many are told of", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const history = correctHistory(5_000, seed);
      const at = 200 + seed * 200;
      const victim = history.findIndex(({ kind, version }, index) => index > at && kind === "read" && version !== 0);
      const correct = history[victim] as Operation;
      // 20 µs are longer than any operation of this history lasts: what has begun before is over.
      const planted = {
        ...correct,
        calledAt: correct.returnedAt + 2e4,
        returnedAt: correct.returnedAt + 3e4,
        version: 0,
      };
      const violations = violationsOf(history.with(victim, planted));
      expect(violations.map(({ kind, operation }) => ({ kind, operation }))).toContainEqual({
        kind: "stale",
        operation: planted,
      });
    }
    const many = Array.from({ length: 25 }, (_, index) => reading(1, 10 + index));
    expect(told(...many).split("\n")).toHaveLength(12);
    expect(told(...many)).toContain("and 15 more");
  });
});

test("a million operations on 50 keys are judged in seconds", () => {
  const startedAt = performance.now();
  let violations = 0;
  for (let key = 1; key <= 50; key += 1) violations += violationsOf(correctHistory(20_000, key)).length;
  expect(violations).toBe(0);
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});
