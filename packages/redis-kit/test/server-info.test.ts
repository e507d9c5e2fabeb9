import type { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { parseServerInfo } from "../src/server-info.ts";
import { connect, startOwnRedis } from "./harness/redis.ts";

const readServerInfo = async (node: Redis) => parseServerInfo(await node.info());

const reply = [
  "# Server",
  "redis_version:7.0.15",
  "uptime_in_seconds:42",
  "executable:/usr/bin/redis:server",
  "# Memory",
  "maxmemory:1048576",
  "maxmemory_policy:volatile-lfu",
  "aof_enabled:1",
  "role:slave",
  "master_replid:fedcba9876543210fedcba9876543210fedcba98",
  "master_repl_offset:1234",
  "",
].join("\r\n");

describe("what a server says of itself", () => {
  it("is read from its reply to INFO", () => {
    expect(parseServerInfo(reply)).toEqual({
      redisVersion: "7.0.15",
      maxmemoryPolicy: "volatile-lfu",
      maxmemory: 1_048_576,
      aofEnabled: true,
      role: "replica",
      uptimeS: 42,
      epoch: "fedcba9876543210",
      replicationId: "fedcba9876543210fedcba9876543210fedcba98",
      replicationOffset: 1_234,
    });
  });

  it("is refused where something is missing, by its name", () => {
    const without = reply.replace("maxmemory_policy:", "policy:");
    expect(() => parseServerInfo(without)).toThrow("no maxmemory_policy");
  });

  it.each([
    { protocol: 2, persistent: false },
    { protocol: 3, persistent: true },
  ] as const)(
    "is what a real Redis is set to (RESP$protocol, persistent: $persistent)",
    async ({ protocol, persistent }) => {
      const redis = await startOwnRedis({ persistent });
      const client = connect(redis.port, protocol);
      await client.config("SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl");
      expect(await readServerInfo(client)).toMatchObject({
        maxmemoryPolicy: "volatile-ttl",
        maxmemory: 100 * 1024 * 1024,
        aofEnabled: persistent,
        role: "primary",
        epoch: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
      });
    },
  );

  it("names the same epoch until the server starts anew or becomes a primary again", async () => {
    const [one, other] = [await startOwnRedis(), await startOwnRedis()];
    const client = connect(one.port);
    const { epoch } = await readServerInfo(client);
    expect((await readServerInfo(client)).epoch).toBe(epoch);
    expect((await readServerInfo(connect(other.port))).epoch).not.toBe(epoch);

    await client.replicaof("127.0.0.1", other.port);
    expect((await readServerInfo(client)).role).toBe("replica");
    await client.replicaof("NO", "ONE");
    const promoted = await readServerInfo(client);
    expect(promoted.role).toBe("primary");
    expect(promoted.epoch).not.toBe(epoch);
  });
});
