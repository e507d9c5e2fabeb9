import slotOf from "cluster-key-slot";
import { isCluster, keyPrefixOf, type RedisClient } from "./client.ts";

/**
 * Groups items so that one script or pipeline may name the keys of a group: by hash slot in a Cluster, else all in one.
 *
 * Slots are computed by what ioredis itself routes with. Of a key with an empty hash tag and a later `}` (`a{}b}`) it says
 * another slot than Redis, so such keys must not be made.
 *
 * @param keyOf the key as it is given to ioredis, without its `keyPrefix`
 * @param maxSize how many items a group may have; those of a slot that has more are several groups
 */
export function groupBySlot<T>(
  client: RedisClient,
  items: readonly T[],
  keyOf: (item: T) => string,
  maxSize = Infinity,
): T[][] {
  const full: T[][] = [];
  const groups = new Map<number, T[]>();
  const prefix = keyPrefixOf(client);
  for (const item of items) {
    const slot = isCluster(client) ? slotOf(prefix + keyOf(item)) : 0;
    const group = groups.get(slot);
    if (group !== undefined && group.length < maxSize) {
      group.push(item);
      continue;
    }
    if (group !== undefined) full.push(group);
    groups.set(slot, [item]);
  }
  return [...full, ...groups.values()];
}
