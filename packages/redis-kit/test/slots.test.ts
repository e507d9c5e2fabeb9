import fc from "fast-check";
import type { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { groupBySlot } from "../src/slots.ts";
import { connect, connectCluster, startOwnCluster } from "./harness/redis.ts";

const itself = (key: string) => key;

function slotInRedis(node: Redis, key: string): Promise<number> {
  return node.cluster("KEYSLOT", key);
}

describe("groups of keys", () => {
  it("are one group where there is no Cluster, and none of nothing", () => {
    const client = connect(1);
    expect(groupBySlot(client, ["a", "b"], itself)).toEqual([["a", "b"]]);
    expect(groupBySlot(client, [], itself)).toEqual([]);
  });

  it("may each be named by one command to a Cluster, which refuses all keys in one", async () => {
    const { port } = await startOwnCluster();
    const client = connectCluster(port, "prefix:");
    const people = Array.from({ length: 50 }, (_, n) => ({ id: n, key: `{person:${n % 10}}:${n}` }));
    const groups = groupBySlot(client, people, ({ key }) => key);

    expect(groups).toHaveLength(10);
    expect(groups.flat()).toHaveLength(50);
    for (const group of groups) {
      expect(await client.mget(group.map(({ key }) => key))).toEqual(group.map(() => null));
    }
    await expect(client.mget(people.map(({ key }) => key))).rejects.toThrow("CROSSSLOT");
  });

  it("have the slots that Redis computes, a key prefix with a hash tag included", async () => {
    const { port } = await startOwnCluster();
    const node = connect(port);
    // An empty hash tag is the one case in which ioredis and Redis disagree.
    const anyKey = fc.string({ unit: "grapheme" }).filter((key) => !key.includes("{}"));
    for (const keyPrefix of ["", "shop:", "{shop}:"]) {
      const client = connectCluster(port, keyPrefix);
      await fc.assert(
        fc.asyncProperty(fc.array(anyKey, { minLength: 1, maxLength: 20 }), async (keys) => {
          const groups = groupBySlot(client, keys, itself);
          const slots = await Promise.all(
            groups.map(
              async (group) => new Set(await Promise.all(group.map((key) => slotInRedis(node, keyPrefix + key)))),
            ),
          );
          expect(slots.every(({ size }) => size === 1)).toBe(true);
          expect(new Set(slots.flatMap((slot) => [...slot])).size).toBe(groups.length);
        }),
        { numRuns: 30 },
      );
    }
  });
});
