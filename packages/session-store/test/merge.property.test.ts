import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPlainObject } from "../src/json.ts";
import { type MergeRules, mergeSessions, sum, union, withoutRules } from "../src/merge.ts";

type Fields = Record<string, unknown>;

/** Names that are easily taken for something else: by Object's prototype, by JSON Pointer, by the order of keys. */
const key = fc.oneof(
  fc.constantFrom("a", "b", "c", "d"),
  fc.constantFrom(
    "",
    "/",
    "~",
    "~1",
    "0",
    "10",
    "9",
    "-1",
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "then",
  ),
);
const { value, fields: anyFields } = fc.letrec<{ value: unknown; fields: Fields }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(0, 1, "", "x", true, false, null),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("fields"),
  ),
  fields: fc.dictionary(key, tie("value"), { maxKeys: 5 }),
}));
/** As a record gives them: with `__proto__` as a key like any other. */
const fields = anyFields.map(copy);

const merge = (base: Fields, mine: Fields, theirs: Fields, rules: Partial<MergeRules> = {}) =>
  mergeSessions(base, mine, theirs, { ...withoutRules, ...rules });

describe("S2: the algebra of merging", () => {
  it("where one side changed nothing the result is the other side, whatever the keys", () => {
    fc.assert(
      fc.property(fields, fields, (base, other) => {
        expectSame(merge(base, base, other), { value: other, conflicts: [] });
        expectSame(merge(base, other, base), { value: other, conflicts: [] });
      }),
    );
  });

  it("changes to disjoint values commute at any depth, never conflict, and all hold", () => {
    const leaf = fc.option(value.map(copy), { nil: undefined });
    // Two levels that are always there; below them a value for each side, or none.
    const tree = fc.array(leaf, { minLength: 8, maxLength: 8 });
    const names = fc.uniqueArray(key, { minLength: 8, maxLength: 8 });
    const build = (keys: string[], leaves: unknown[]) => {
      const of = (from: number, to: number) =>
        Object.fromEntries(
          keys
            .map((name, at): [string, unknown] => [name, leaves[at]])
            .slice(from, to)
            .filter(([, held]) => held !== undefined),
        );
      return { top: of(0, 4), deep: { deeper: of(4, 8) } };
    };
    fc.assert(
      fc.property(
        names,
        tree,
        tree,
        fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        (keys, old, next, isMine) => {
          const base = build(keys, old);
          const mine = build(
            keys,
            old.map((held, at) => (isMine[at] ? next[at] : held)),
          );
          const theirs = build(
            keys,
            old.map((held, at) => (isMine[at] ? held : next[at])),
          );
          const both = { value: build(keys, next), conflicts: [] };
          expectSame(merge(base, mine, theirs), both);
          expectSame(merge(base, theirs, mine), both);
        },
      ),
    );
  });

  it("deletions hold: what one side deleted and the other left alone is gone", () => {
    fc.assert(
      fc.property(fields, fields, key, value, (base, theirs, deleted, was) => {
        const before = withKey(base, deleted, copy(was));
        const mine = withoutKey(before, deleted);
        const others = withKey(theirs, deleted, copy(was));
        expect(Object.hasOwn(merge(before, mine, others).value, deleted)).toBe(false);
        expect(Object.hasOwn(merge(before, others, mine).value, deleted)).toBe(false);
      }),
    );
  });

  it("appends to one list are all kept, each side's in its order", () => {
    const list = fc.array(value.map(copy), { maxLength: 5 });
    fc.assert(
      fc.property(list, list, list, key, (base, mine, theirs, name) => {
        const at = (items: unknown[]) => withKey({}, name, items);
        const merged = merge(at(base), at([...base, ...mine]), at([...base, ...theirs]));
        expectSame(merged, { value: at([...base, ...theirs, ...mine]), conflicts: [] });
      }),
    );
  });

  it("what both changed alike, lists apart, is changed once", () => {
    fc.assert(
      fc.property(fields.map(withoutLists), fields.map(withoutLists), (base, both) => {
        expectSame(merge(base, both, both), { value: both, conflicts: [] });
      }),
    );
  });

  it("what is merged is not merged again: over what it was merged with it is as it is", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const merged = merge(base, mine, theirs).value;
        expectSame(merge(theirs, merged, theirs), { value: merged, conflicts: [] });
        expectSame(merge(mine, mine, merged), { value: merged, conflicts: [] });
      }),
    );
  });

  it("conflicts are where they are, whoever is later; there the later wins, and the pointer leads there", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const [one, other] = [merge(base, mine, theirs), merge(base, theirs, mine)];
        expect(new Set(one.conflicts)).toEqual(new Set(other.conflicts));
        for (const pointer of one.conflicts) {
          expect(isDeepStrictEqual(resolve(mine, pointer), resolve(theirs, pointer))).toBe(false);
          expectSame(resolve(one.value, pointer), resolve(mine, pointer));
          expectSame(resolve(other.value, pointer), resolve(theirs, pointer));
        }
      }),
    );
  });

  it("changes none of its arguments, shares nothing with the base, and makes plain objects only", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const before = copy([base, mine, theirs]);
        const merged = merge(base, mine, theirs).value;
        expectSame([base, mine, theirs], before);
        const ofBase = new Set(objectsIn(base));
        for (const object of objectsIn(merged)) {
          expect(ofBase.has(object)).toBe(false);
          expect(Array.isArray(object) || isPlainObject(object)).toBe(true);
        }
        expect(({} as Fields).polluted).toBeUndefined();
      }),
    );
  });

  it("a value that is taken whole is one side's, never a mixture", () => {
    fc.assert(
      fc.property(fields, fields, fields, (base, mine, theirs) => {
        const at = (form: Fields) => ({ form });
        const { form } = merge(at(base), at(mine), at(theirs), { atomicPaths: new Set(["/form"]) }).value;
        expect([mine, theirs].some((side) => isDeepStrictEqual(form, side))).toBe(true);
      }),
    );
  });

  it("nesting as deep as a record may have is merged", () => {
    const nested = (leaf: Fields) => {
      let inner = leaf;
      for (let depth = 0; depth < 495; depth += 1) inner = { inner };
      return inner;
    };
    const merged = merge(nested({ a: 1 }), nested({ a: 1, b: 2 }), nested({ a: 1, c: 3 }));
    expectSame(merged, { value: nested({ a: 1, c: 3, b: 2 }), conflicts: [] });
  });
});

describe("S2: resolvers", () => {
  it("sum counts every increment, in whatever order they are stored", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer({ min: -1_000, max: 1_000 })), (start, increments) => {
        const total = increments.reduce((stored, by) => sum(start, start + by, stored) as number, start);
        expect(total).toBe(start + increments.reduce((all, by) => all + by, 0));
      }),
    );
  });

  const item = value.map(copy);
  const list = fc.array(item, { maxLength: 8 });
  const has = (items: unknown, one: unknown) => (items as unknown[]).some((other) => isDeepStrictEqual(one, other));

  it("union holds what somebody added and nobody removed, once", () => {
    fc.assert(
      fc.property(list, list, list, (base, mine, theirs) => {
        const united = union(base, mine, theirs) as unknown[];
        for (const one of [...base, ...mine, ...theirs]) {
          const isIn = has(base, one) ? has(mine, one) && has(theirs, one) : has(mine, one) || has(theirs, one);
          expect(united.filter((other) => isDeepStrictEqual(one, other))).toHaveLength(isIn ? 1 : 0);
        }
      }),
    );
  });

  it("union holds the same items, whoever is later, and gains nothing from being done again", () => {
    fc.assert(
      fc.property(list, list, list, (base, mine, theirs) => {
        const [one, other] = [union(base, mine, theirs) as unknown[], union(base, theirs, mine) as unknown[]];
        expect(one.every((held) => has(other, held)) && other.every((held) => has(one, held))).toBe(true);
        expectSame(union(one, one, one), one);
      }),
    );
  });

  it("union takes no longer than lists do that fill a record", () => {
    const items = (from: number) =>
      Array.from({ length: 12_000 }, (_, at) => (at % 2 === 0 ? from + at : { id: from + at }));
    const startedAt = performance.now();
    expect(union(items(0), items(6_000), items(3_000))).toHaveLength(12_000);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

function copy<T>(any: T): T {
  return JSON.parse(JSON.stringify(any)) as T;
}

/** By own keys and prototypes: `toEqual` looks past a key named `__proto__`. */
function expectSame(given: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(given, wanted)) expect(JSON.stringify(given)).toBe(JSON.stringify(wanted));
}

function withKey(object: Fields, name: string, held: unknown): Fields {
  return Object.fromEntries([...Object.entries(withoutKey(object, name)), [name, held]]);
}

function withoutKey(object: Fields, name: string): Fields {
  return Object.fromEntries(Object.entries(object).filter(([other]) => other !== name));
}

/** Lists become texts. */
function withoutLists(object: Fields): Fields {
  return JSON.parse(JSON.stringify(object, (_key, held: unknown) => (Array.isArray(held) ? "list" : held))) as Fields;
}

function objectsIn(any: unknown): object[] {
  if (typeof any !== "object" || any === null) return [];
  return [any, ...Object.values(any).flatMap(objectsIn)];
}

/** What a JSON Pointer leads to. */
function resolve(from: Fields, pointer: string): unknown {
  const keys = pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return keys.reduce<unknown>(
    (held, name) => (isPlainObject(held) && Object.hasOwn(held, name) ? held[name] : undefined),
    from,
  );
}
