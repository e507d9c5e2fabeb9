import type { Cluster, Redis } from "ioredis";

/** An ioredis client: one server, Sentinel, or Cluster. It belongs to the caller: nothing here configures or closes it. */
export type RedisClient = Redis | Cluster;

/** The nodes that hold keys: all primaries of a Cluster, else the one connection. */
export function primaries(client: RedisClient): Redis[] {
  return "nodes" in client ? client.nodes("master") : [client];
}

/** What ioredis puts before each key by itself, except in a SCAN's pattern and reply. */
export function keyPrefixOf(client: RedisClient): string {
  return client.options.keyPrefix ?? "";
}
