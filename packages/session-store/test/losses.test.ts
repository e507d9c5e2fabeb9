import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { overwrittenPaths } from "../src/losses.ts";
import { mergeSessions, withoutRules } from "../src/merge.ts";

type Fields = Record<string, unknown>;

/** The paths of a save by a store in which the later save wins whole. */
function lastWins(base: Fields, mine: Fields, theirs: Fields) {
  return overwrittenPaths({ base, mine, theirs, after: mine });
}

const none = { setBack: [], replaced: [] };

describe("what a save overwrites", () => {
  it("is what others have added, changed or deleted, and the save has set back", () => {
    const base = { changed: 1, deleted: 1, mine: 1, nobodys: 1 };
    const paths = lastWins(base, { ...base, mine: 2 }, { added: 1, changed: 2, mine: 1, nobodys: 1 });
    expect(paths).toEqual({ setBack: ["/changed", "/deleted", "/added"], replaced: [] });
  });

  it("is what both have changed, differently", () => {
    expect(lastWins({ a: 1, list: [] }, { a: 2, list: [2] }, { a: 3, list: [3] })).toEqual({
      setBack: [],
      replaced: ["/a", "/list"],
    });
    expect(lastWins({ a: 1 }, {}, { a: 2 }).replaced).toEqual(["/a"]);
  });

  it("is named by the deepest path at which it happened, as a JSON Pointer", () => {
    const base = { cart: { "a/b": 1, "c~d": { e: 1 } }, other: 1 };
    const theirs = { cart: { "a/b": 2, "c~d": { e: 1, f: 1 } }, other: 1 };
    expect(lastWins(base, { ...base, other: 2 }, theirs).setBack).toEqual(["/cart/a~1b", "/cart/c~0d/f"]);
  });

  it("is nothing where both made the same change", () => {
    expect(lastWins({ a: 1 }, { a: 2, b: 1 }, { a: 2 })).toEqual(none);
  });

  it("is nothing that a third request has changed since", () => {
    const [base, mine, theirs] = [
      { a: 1, b: 1 },
      { a: 1, b: 2 },
      { a: 2, b: 1 },
    ];
    expect(overwrittenPaths({ base, mine, theirs, after: { a: 3, b: 2 } })).toEqual(none);
  });

  it("is nothing where the store has kept both", () => {
    const [base, mine, theirs] = [{ list: [1] }, { list: [1, 2] }, { list: [1, 3], added: 1 }];
    expect(overwrittenPaths({ base, mine, theirs, after: { list: [1, 3, 2], added: 1 } })).toEqual(none);
  });
});

describe("for any three states of a session", () => {
  const leaf = fc.oneof(fc.integer({ min: 0, max: 2 }), fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 3 }));
  const key = fc.constantFrom("a", "b", "c");
  const objectOf = <T>(value: fc.Arbitrary<T>) => fc.dictionary(key, value, { noNullPrototype: true });
  const fields: fc.Arbitrary<Fields> = objectOf(fc.oneof(leaf, objectOf(leaf)));

  it("a store in which the later save wins loses something exactly where the merge would have kept or told something", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const { value, conflicts } = mergeSessions(base, mine, theirs, withoutRules);
        const { setBack, replaced } = lastWins(base, mine, theirs);
        expect(setBack.length + replaced.length === 0).toBe(conflicts.length === 0 && isDeepStrictEqual(value, mine));
      }),
      { numRuns: 2_000 },
    );
  });

  it("a store that merges sets nothing back, and replaces what it tells as conflicts", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const { value, conflicts } = mergeSessions(base, mine, theirs, withoutRules);
        const paths = overwrittenPaths({ base, mine, theirs, after: value });
        expect(paths.setBack).toEqual([]);
        expect([...paths.replaced].sort()).toEqual([...conflicts].sort());
      }),
      { numRuns: 2_000 },
    );
  });
});
