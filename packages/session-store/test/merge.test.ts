import { describe, expect, it } from "vitest";
import { type MergeRules, type Resolver, mergeSessions, sum, union } from "../src/merge.ts";

const plain: MergeRules = { atomicPaths: new Set(), resolvers: new Map() };
const atomic = (...paths: string[]): MergeRules => ({ ...plain, atomicPaths: new Set(paths) });
const resolve = (path: string, resolver: Resolver): MergeRules => ({
  ...plain,
  resolvers: new Map([[path, resolver]]),
});

describe("S2: what two requests changed", () => {
  it("keeps changes to different keys", () => {
    expect(mergeSessions({ a: 1 }, { a: 1, mine: 2 }, { a: 1, theirs: 3 }, plain)).toEqual({
      value: { a: 1, mine: 2, theirs: 3 },
      conflicts: [],
    });
  });

  it("keeps changes to different keys of one object, however deep", () => {
    const base = { user: { address: { city: "Bonn", zip: "1" }, name: "A" } };
    const mine = { user: { address: { city: "Köln", zip: "1" }, name: "A" } };
    const theirs = { user: { address: { city: "Bonn", zip: "2" }, name: "B" } };
    expect(mergeSessions(base, mine, theirs, plain)).toEqual({
      value: { user: { address: { city: "Köln", zip: "2" }, name: "B" } },
      conflicts: [],
    });
  });

  it("keeps a key deleted that only one side deleted", () => {
    expect(mergeSessions({ a: 1, b: 2 }, { b: 2 }, { a: 1, b: 3 }, plain).value).toEqual({ b: 3 });
    expect(mergeSessions({ a: 1, b: 2 }, { a: 1, b: 3 }, { b: 2 }, plain).value).toEqual({ b: 3 });
  });

  it("keeps what both appended to one list, in the order of the commits", () => {
    const merged = mergeSessions({ cart: ["pen"] }, { cart: ["pen", "ink"] }, { cart: ["pen", "cup"] }, plain);
    expect(merged).toEqual({ value: { cart: ["pen", "cup", "ink"] }, conflicts: [] });
  });

  it("keeps the same item twice when two tabs appended it", () => {
    const merged = mergeSessions({ cart: [] }, { cart: ["pen"] }, { cart: ["pen"] }, plain);
    expect(merged).toEqual({ value: { cart: ["pen", "pen"] }, conflicts: [] });
  });

  it("joins two lists that both created, and takes the very same default only once", () => {
    expect(mergeSessions({}, { cart: ["ink"] }, { cart: ["cup"] }, plain).value).toEqual({ cart: ["cup", "ink"] });
    expect(mergeSessions({}, { menu: [1, 2] }, { menu: [1, 2] }, plain).value).toEqual({ menu: [1, 2] });
  });

  it("lets the later commit win where both changed the very same value, and tells where", () => {
    const merged = mergeSessions({ a: { "x/y": 1 } }, { a: { "x/y": 2 } }, { a: { "x/y": 3 } }, plain);
    expect(merged).toEqual({ value: { a: { "x/y": 2 } }, conflicts: ["/a/x~1y"] });
  });

  it("lets the later commit win where one deleted what the other changed", () => {
    expect(mergeSessions({ a: 1 }, {}, { a: 2 }, plain)).toEqual({ value: {}, conflicts: ["/a"] });
    expect(mergeSessions({ a: 1 }, { a: 2 }, {}, plain)).toEqual({ value: { a: 2 }, conflicts: ["/a"] });
  });

  it("does not report a change that both made alike", () => {
    expect(mergeSessions({ a: 1 }, { a: 2 }, { a: 2 }, plain)).toEqual({ value: { a: 2 }, conflicts: [] });
  });

  it("treats a list that one side rewrote as one value", () => {
    const merged = mergeSessions({ cart: ["pen"] }, { cart: [] }, { cart: ["pen", "cup"] }, plain);
    expect(merged).toEqual({ value: { cart: [] }, conflicts: ["/cart"] });
  });

  it("takes atomic values whole", () => {
    const merged = mergeSessions(
      { form: { a: 1, b: 1 } },
      { form: { a: 2, b: 1 } },
      { form: { a: 1, b: 2 } },
      atomic("/form"),
    );
    expect(merged).toEqual({ value: { form: { a: 2, b: 1 } }, conflicts: ["/form"] });
  });

  it("lets a resolver decide", () => {
    expect(mergeSessions({ n: 1 }, { n: 4 }, { n: 3 }, resolve("/n", sum)).value).toEqual({ n: 6 });
    expect(mergeSessions({}, { n: 4 }, { n: 3 }, resolve("/n", sum)).value).toEqual({ n: 7 });
    const sets = mergeSessions({ s: ["a", "b"] }, { s: ["a", "c"] }, { s: ["b", "c", "d"] }, resolve("/s", union));
    expect(sets).toEqual({ value: { s: ["c", "d"] }, conflicts: [] });
  });

  it("does not touch Object's prototype, whatever the keys", () => {
    const key = "constructor";
    const merged = mergeSessions(
      {},
      { [key]: { prototype: { polluted: 1 } } },
      { [key]: { prototype: { other: 2 } } },
      plain,
    );
    expect(merged.value).toEqual({ [key]: { prototype: { polluted: 1, other: 2 } } });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
