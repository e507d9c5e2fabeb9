import type { Cluster, Redis } from "ioredis";

/** An ioredis client: one server, Sentinel, or Cluster. It belongs to the caller: nothing here configures or closes it. */
export type RedisClient = Redis | Cluster;

/** By what it can do: the caller's ioredis may be another copy than ours, with another class. */
export function isCluster(client: RedisClient): client is Cluster {
  return "nodes" in client;
}

/** The nodes that hold keys: all primaries of a Cluster, else the one connection. */
export function primaries(client: RedisClient): Redis[] {
  return isCluster(client) ? client.nodes("master") : [client];
}

/** What ioredis puts before each key by itself, except in a SCAN's pattern and reply. */
export function keyPrefixOf(client: RedisClient): string {
  return client.options.keyPrefix ?? "";
}

/** The connections of a client: of a Cluster, those to all nodes it knows. */
export function connections(client: RedisClient): Redis[] {
  return isCluster(client) ? client.nodes("all") : [client];
}
