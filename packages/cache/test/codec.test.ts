import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode, isMissing, isValueOf } from "../src/codec.ts";

function isDeeplyFrozen(value: unknown): boolean {
  return (
    typeof value !== "object" ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen))
  );
}

describe("the text of a value", () => {
  it("gives back what JSON makes of any value, deeply frozen", () => {
    const anything = fc.anything({ withDate: true, withNullPrototype: true, withSparseArray: true });
    fc.assert(
      fc.property(
        anything.filter((value) => typeof JSON.stringify(value) === "string"),
        (value) => {
          const decoded = decode(encode(value, 1));
          expect(decoded).toEqual(JSON.parse(JSON.stringify(value)));
          expect(isDeeplyFrozen(decoded)).toBe(true);
        },
      ),
    );
  });

  it("knows null, 0, an empty text and false from a missing value", () => {
    for (const value of [null, 0, -1.5, "", false, [], {}, 2 ** 53, "m", "\u2028 \ud800"]) {
      expect(isMissing(encode(value, 1))).toBe(false);
      expect(decode(encode(value, 1))).toEqual(value);
    }
  });

  it("keeps that there is no value", () => {
    expect(isMissing(encode(undefined, 1))).toBe(true);
    expect(decode(encode(undefined, 1))).toBeUndefined();
  });

  it("is refused to what JSON can't carry, by its code and without the value", () => {
    const cycle: { self?: unknown; secret: string } = { secret: "hush" };
    cycle.self = cycle;
    for (const value of [() => 1, Symbol("hush"), 10n, cycle]) {
      expect(() => encode(value, 1)).toThrow(expect.objectContaining({ code: "INVALID_VALUE" }) as Error);
      expect(() => encode(value, 1)).not.toThrow(/hush/);
    }
  });

  it("tells its revision, and is a value where nothing else of an entry is", () => {
    for (const value of ["a", undefined]) {
      expect(isValueOf(encode(value, 12), 12)).toBe(true);
      for (const other of [1, 2, 121]) expect(isValueOf(encode(value, 12), other)).toBe(false);
    }
    for (const text of ["f12:", "u12:", "r12:", "v", ""]) expect(isValueOf(text, 12)).toBe(false);
  });

  it("is not believed if this package has not written it", () => {
    for (const text of ["", "x1", "v", "v1:", "v1:{", "1", "m", "missing"])
      expect(() => decode(text)).toThrow(SyntaxError);
  });
});
