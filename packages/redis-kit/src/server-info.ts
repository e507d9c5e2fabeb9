/** What a Redis server says of itself. */
export interface ServerInfo {
  readonly redisVersion: string;
  /** Such as `noeviction` or `volatile-lfu`. */
  readonly maxmemoryPolicy: string;
  /** In bytes; 0: no limit. */
  readonly maxmemory: number;
  readonly aofEnabled: boolean;
  readonly role: "primary" | "replica";
  readonly uptimeS: number;
  /**
   * Names the time from one start or failover of the primary to the next: 16 hexadecimal digits of the replication id. A primary
   * makes itself a new one at each. (The run id comes back after two failovers.)
   */
  readonly epoch: string;
  /** Names the history of writes that this server is in: 40 hexadecimal digits. */
  readonly replicationId: string;
  /** How far in it a primary is, in bytes. */
  readonly replicationOffset: number;
}

/**
 * By INFO and not by CONFIG, which managed services forbid.
 *
 * @param info the reply to INFO without sections, since a Redis older than 7 refuses several, and is to be told that it is too old
 * @throws {Error} naming a field that it lacks
 */
export function parseServerInfo(info: string): ServerInfo {
  const lines = info.split(/\r?\n/).filter((line) => line.includes(":"));
  const fields = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
  const field = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined)
      throw new Error(`The server's reply to INFO has no ${name}: it is not a Redis as we know it.`);
    return value;
  };
  return {
    redisVersion: field("redis_version"),
    maxmemoryPolicy: field("maxmemory_policy"),
    maxmemory: Number(field("maxmemory")),
    aofEnabled: field("aof_enabled") === "1",
    role: field("role") === "master" ? "primary" : "replica",
    uptimeS: Number(field("uptime_in_seconds")),
    replicationId: field("master_replid"),
    replicationOffset: Number(field("master_repl_offset")),
    epoch: field("master_replid").slice(0, 16),
  };
}
