import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memcachedKey } from "../src/drivers/memcached-keys.ts";
import { rendezvous } from "../src/drivers/rendezvous.ts";
import { createKeys } from "../src/keys.ts";

const keysOf = createKeys("a-cache", "thing");
const keyOf = (id: string) => memcachedKey(keysOf.of(id).entry);

describe("a key on Memcached", () => {
  it("is 1 to 250 printable characters of ASCII, whatever the id", () => {
    const ids = fc.string({ unit: "binary", minLength: 1, maxLength: 256 });
    fc.assert(
      fc.property(ids, (id) => {
        expect(keyOf(id)).toMatch(/^[!-~]{1,250}$/);
      }),
    );
  });

  it("is no other id's, though one is made to look like what is left of another", () => {
    const unit = fc.constantFrom("%", "#", "2", "5", "3", "a", " ", "ü", "\n");
    const ids = fc.string({ unit, minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(ids, ids, (one, other) => {
        fc.pre(one !== other);
        expect(keyOf(one)).not.toBe(keyOf(other));
      }),
    );
    const long = keyOf("x".repeat(512));
    expect(memcachedKey(long)).not.toBe(long);
    expect(keyOf("x".repeat(511))).not.toBe(long);
  });

  it("is readable where it can be", () => {
    expect(keyOf("a b")).toBe("a-cache:2:{thing:a%20b}");
    expect(keyOf("x".repeat(512))).toMatch(/^a-cache:2:\{thing:x{189}#[\w-]{43}$/);
  });
});

describe("the node that a key belongs to", () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `a-cache:2:{thing:${index}}`);
  const names = ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211", "10.0.0.4:11211"];
  const nodesOf = (nodes: readonly string[]) => {
    const nodeOf = rendezvous(nodes);
    return keys.map((key) => nodes[nodeOf(key)]);
  };

  it("is the same in whatever order the nodes are listed", () => {
    const expected = nodesOf(names);
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: names.length }), (shuffled) => {
        expect(nodesOf(shuffled)).toEqual(expected);
      }),
      { numRuns: 10 },
    );
  });

  it("stays the same when a node is added, but for those that go to it: one in n", () => {
    const before = nodesOf(names.slice(0, 3));
    const after = nodesOf(names);
    const moved = after.filter((node, index) => node !== before[index]);
    expect(new Set(moved)).toEqual(new Set([names[3]]));
    expect(moved.length / keys.length).toBeCloseTo(1 / 4, 1);
  });

  it("is each of them for its share of the keys", () => {
    const nodes = nodesOf(names);
    for (const name of names) {
      const share = nodes.filter((node) => node === name).length / keys.length;
      expect(share).toBeGreaterThan(0.23);
      expect(share).toBeLessThan(0.27);
    }
  });
});
