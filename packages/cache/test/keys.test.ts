import fc from "fast-check";
import { describe, expect, it } from "vitest";
import slotOf from "cluster-key-slot";
import { createKeys } from "../src/keys.ts";

const bytesOf = (key: string) => Buffer.from(key).toString("hex");
// With all that UTF-16 allows, half surrogate pairs too: ids come from outside.
const ids = fc.string({ minLength: 1, maxLength: 12, unit: "binary" });
const nastyIds = fc.array(fc.constantFrom("%", "{", "}", ":", "pending", "7b", "\ud800", "\udfff", "\ufffd", "a"), {
  minLength: 1,
  maxLength: 6,
});
const anyIds = fc.oneof(
  ids,
  nastyIds.map((parts) => parts.join("")),
);
const types = fc.constantFrom("a", "a-b", "b", "ab");

describe("the keys of an entry", () => {
  it("are an entry and a mark that no other id and no other collection has, in the bytes that Redis sees", () => {
    fc.assert(
      fc.property(anyIds, anyIds, types, types, (id, otherId, type, otherType) => {
        fc.pre(id !== otherId || type !== otherType);
        const [one, other] = [createKeys("c", type).of(id), createKeys("c", otherType).of(otherId)];
        const keys = [one.entry, one.mark, other.entry, other.mark].map(bytesOf);
        expect(new Set(keys).size).toBe(4);
      }),
      { numRuns: 2_000 },
    );
  });

  it("are in one slot, which the id alone and not the cache's name decides", () => {
    fc.assert(
      fc.property(anyIds, (id) => {
        const [one, other] = [createKeys("c", "t").of(id), createKeys("other:name", "t").of(id)];
        expect(new Set([one.entry, one.mark, other.entry, other.mark].map((key) => slotOf(key))).size).toBe(1);
      }),
    );
  });

  it("are found again from either of them", () => {
    const keys = createKeys("c", "t");
    fc.assert(
      fc.property(anyIds, (id) => {
        const both = keys.of(id);
        expect(keys.owning(both.entry)).toEqual(both);
        expect(keys.owning(both.mark)).toEqual(both);
      }),
    );
  });

  it("are the same for a number and its text", () => {
    expect(createKeys("c", "t").of(7)).toEqual(createKeys("c", "t").of("7"));
  });

  it("are refused for an empty id and for one that is too long", () => {
    const keys = createKeys("c", "t");
    const invalid = expect.objectContaining({ code: "INVALID_ID" }) as Error;
    expect(() => keys.of("")).toThrow(invalid);
    expect(() => keys.of("x".repeat(513))).toThrow(invalid);
    expect(keys.of("x".repeat(512)).entry).toHaveLength("c:1:{t:}".length + 512);
  });
});
