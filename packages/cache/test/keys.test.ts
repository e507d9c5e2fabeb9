import fc from "fast-check";
import { describe, expect, it } from "vitest";
import slotOf from "cluster-key-slot";
import { createKeys, createQueueKeys, idOfRow, markPattern } from "../src/keys.ts";

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

describe("the keys of a write-behind collection", () => {
  const everyKeyOf = (type: string, id: string) => {
    const { entry, partition } = createQueueKeys("c", type).of(id);
    const { lease, queue, since, failures, dead, clock, token } = partition;
    return { entry, all: [entry, lease, queue, since, failures, dead, clock, token("t0ken-_")] };
  };

  it("are nobody else's: not another id's, nor another collection's, nor those of a collection of another kind", () => {
    fc.assert(
      fc.property(anyIds, anyIds, types, types, (id, otherId, type, otherType) => {
        const { entry, all } = everyKeyOf(type, id);
        const others = everyKeyOf(otherType, otherId);
        const plain = createKeys("c", otherType).of(otherId);
        expect(new Set(all.map(bytesOf)).size).toBe(all.length);
        for (const key of [plain.entry, plain.mark]) expect(all.map(bytesOf)).not.toContain(bytesOf(key));
        if (id === otherId && type === otherType) return;
        expect(others.all.map(bytesOf)).not.toContain(bytesOf(entry));
      }),
      { numRuns: 2_000 },
    );
  });

  it("are in one slot, and are no marks that a sweep would look at", () => {
    fc.assert(
      fc.property(anyIds, types, (id, type) => {
        const { all } = everyKeyOf(type, id);
        expect(new Set(all.map((key) => slotOf(key))).size).toBe(1);
        expect(all.filter((key) => key.endsWith(markPattern("c").slice(-":pending".length - 1)))).toEqual([]);
      }),
    );
  });

  it("tell the id of a row", () => {
    fc.assert(
      fc.property(anyIds, (id) => {
        expect(idOfRow(createQueueKeys("c", "t").of(id).row)).toBe(id);
      }),
      { numRuns: 2_000 },
    );
  });
});
