import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { Commands, claimOf } from "@lockstep/redis-kit";
import { type JoinOptions, joinNearCache } from "../src/index.ts";
import { startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import {
  connect,
  groupKey,
  joinAs,
  keepCopy,
  killMembers,
  rowsOf,
  served,
  startProxy,
  uniqueGroup,
  until,
  untilSettled,
  write,
} from "./harness/members.ts";

/** What keeps this process alive now. */
function resources(): Record<string, number> {
  const all: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) all[kind] = (all[kind] ?? 0) + 1;
  return { sockets: all["TCPSocketWrap"] ?? 0, timers: all["Timeout"] ?? 0 };
}

describe("joining", () => {
  it("refuses options that can't be meant", async () => {
    const client = connect();
    const bad: [Partial<Record<keyof JoinOptions, unknown>>, RegExp][] = [
      [{ client: undefined }, /client/],
      [{ group: "" }, /group/],
      [{ group: "a b" }, /group/],
      [{ group: "{a}" }, /group/],
      [{ copies: "yes" }, /copies/],
      [{ leaseMs: 99 }, /leaseMs/],
      [{ leaseMs: 60_001 }, /leaseMs/],
      [{ leaseMs: 100.5 }, /leaseMs/],
      [{ label: "" }, /label/],
      [{ label: "x".repeat(65) }, /label/],
      [{ label: "\ud800" }, /label/],
    ];
    for (const [options, message] of bad) {
      const joining = joinNearCache({ client, group: "g", ...options } as JoinOptions);
      await expect(joining).rejects.toThrow(TypeError);
      await expect(joining).rejects.toThrow(message);
    }
  });

  it("tells who is there, by whatever they call themselves", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, label: "ä b\n✓" });
    await joinAs({ group, label: "keeps none", copies: false });
    await until(() => expect(a.near.status().members).toHaveLength(2));
    const { state, members } = a.near.status();
    expect(state).toBe("joined");
    expect(members).toContainEqual(expect.objectContaining({ label: "ä b\n✓", isThis: true, copies: true }));
    expect(members).toContainEqual(expect.objectContaining({ label: "keeps none", isThis: false, copies: false }));
  });

  it("is refused with leases of another length, as long as somebody is there", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs: 300 });
    await expect(joinAs({ group, leaseMs: 400 })).rejects.toMatchObject({ code: "LEASE_MISMATCH" });
    await a.near.close();
    const b = await joinAs({ group, leaseMs: 400 });
    await untilSettled(b);
    expect(b.near.status().generation).not.toBe(a.near.status().generation);
  });

  it.each([
    ["pub/sub", ["-ssubscribe"]],
    ["publishing", ["-spublish"]],
    ["INFO", ["-info"]],
    ["scripts", ["-evalsha", "-eval"]],
  ])("is refused for good to a user without the right to %s", async (_what, rules) => {
    const redis = await startOwnRedis();
    const admin = connect(redis.url);
    await admin.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", ...rules);
    const client = connect(redis.url, { username: "app", password: "secret" });
    await expect(joinAs({ group: uniqueGroup(), client })).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  it("is refused for good by a Redis without RESP3", async () => {
    const directory = await mkdtemp(join(tmpdir(), "lockstep-near-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const start = { role: "state" as const, port: await freePort(), directory, persistent: false };
    const redis = await startRedis({ ...start, settings: ["--rename-command", "HELLO", ""] });
    onTestFinished(() => redis.stop());
    const joining = joinAs({ group: uniqueGroup(), client: connect(redis.url) });
    await expect(joining).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  it("fails in bounded time where Redis is a black hole, tries again, and can be left", async () => {
    const proxy = await startProxy();
    await proxy.set("hold");
    const client = connect(proxy.url);
    const startedAt = performance.now();
    const a = await joinAs({ group: uniqueGroup(), client });
    expect(performance.now() - startedAt).toBeLessThan(4_000);
    expect(a.near.status()).toMatchObject({ state: "joining", leaseLeftMs: 0 });
    expect(a.near.status().error).toMatchObject({ code: "UNAVAILABLE" });
    await expect(a.near.joining(50)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(a.near.counts().failedJoins).toBeGreaterThan(0);
    const closedAt = performance.now();
    await a.near.close();
    expect(performance.now() - closedAt).toBeLessThan(4_000);
    expect(a.near.status().state).toBe("left");
  });

  it("waits for an attempt that is under way", async () => {
    const proxy = await startProxy();
    const a = await joinAs({ group: uniqueGroup(), client: connect(proxy.url) });
    for (let round = 2; round < 6; round += 1) {
      await proxy.set("reset");
      await until(() => expect(a.near.counts().losses.connection).toBe(round - 1));
      await proxy.set("pass");
      await until(async () => expect(await a.near.joining(1_000)).toBeDefined());
      expect(a.near.counts().joins).toBe(round);
    }
  });

  it("pauses between joinings that end before their first renewal", async () => {
    const group = uniqueGroup();
    const endsAt = performance.now() + 1_000;
    const onEvent = ({ type }: { type: string }) => {
      if (type !== "joined" || performance.now() > endsAt) return;
      // At once, so that it is before the renewal.
      execFileSync("redis-cli", ["-u", inject("redisUrl"), "DEL", groupKey(group)]);
    };
    const a = await joinAs({ group, onEvent });
    expect(a.near.status()).toMatchObject({ state: "joining", error: { code: "UNAVAILABLE" } });
    await until(() => expect(a.near.mayServe()).toBe(true));
    expect(a.near.counts().joins).toBeGreaterThan(2);
    expect(a.near.counts().joins).toBeLessThan(10);
  });

  it("brings no group together by prefix, name or database that is another", async () => {
    const group = uniqueGroup();
    const prefixed = await joinAs({ group, client: connect(undefined, { keyPrefix: "app:" }) });
    const others = [await joinAs({ group }), await joinAs({ group, client: connect(undefined, { db: 1 }) })];
    await untilSettled(prefixed, ...others);
    for (const member of others) keepCopy(member, "k");
    expect(await write(prefixed, "k")).toBe("revoked");
    for (const member of others) expect(served(member, "k")).toBe(1);
    expect(await connect().exists(`app:${groupKey(group)}`)).toBe(1);
  });

  it("takes clients that are set in odd ways", async () => {
    const group = uniqueGroup();
    const odd = [
      { lazyConnect: true },
      { enableReadyCheck: false },
      { enableOfflineQueue: false },
      { protocol: 3 as const, stringNumbers: true },
      { commandTimeout: 1_000, maxRetriesPerRequest: 0 },
      { retryStrategy: () => 1, autoResubscribe: true, autoResendUnfulfilledCommands: true },
      { enableAutoPipelining: true, reconnectOnError: () => 2 as const },
    ];
    const members = [];
    for (const options of odd) members.push(await joinAs({ group, client: connect(undefined, options) }));
    await untilSettled(...members);
    for (const member of members) keepCopy(member, "k");
    for (const member of members) expect(await write(member, "k")).toBe("revoked");
    for (const member of members) expect(served(member, "k")).toBeUndefined();
  });
});

describe("leaving", () => {
  it("leaves no timer, no socket and no row behind", async () => {
    const client = connect();
    await client.ping();
    const before = resources();
    const group = uniqueGroup();
    const near = await joinNearCache({ client, group, leaseMs: 5_000 });
    const writing = near.revoke(await near.joining(100), { keys: ["k"] }, 20_000);
    await until(async () => expect(await client.hget(groupKey(group), "sent")).toBe("1"));
    await near.close();
    expect(await writing).toBe("superseded");
    await until(() => {
      const { sockets, timers } = resources();
      expect(sockets).toBeLessThanOrEqual(before.sockets ?? 0);
      expect(timers).toBeLessThanOrEqual((before.timers ?? 0) + 1); // that of this wait
    });
    expect(await rowsOf(client, group)).toEqual({});
    await expect(near.joining(10)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("leaves no row behind that an attempt has made meanwhile", async () => {
    const group = uniqueGroup();
    const proxy = await startProxy();
    const client = connect(proxy.url, { connectionName: group });
    const a = await joinAs({ group, leaseMs: 2_000, client });
    await proxy.set({ delayMs: 60 });
    await killMembers(connect(), group);
    await until(() => expect(a.near.status().state).toBe("joining"));
    await a.near.close();
    expect(await rowsOf(connect(), group)).toEqual({});
    expect(a.near.counts().joins).toBe(1);
  });

  it("can be done twice, and both return when it is done", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group });
    const first = a.near.close();
    await a.near.close();
    expect(await rowsOf(connect(), group)).toEqual({});
    await first;
  });
});

describe("a Redis that has no memory left", () => {
  it("still renews leases and revokes", async () => {
    const redis = await startOwnRedis();
    const group = uniqueGroup();
    const [a, b] = [
      await joinAs({ group, client: connect(redis.url) }),
      await joinAs({ group, client: connect(redis.url) }),
    ];
    await untilSettled(a, b);
    await a.client.config("SET", "maxmemory-policy", "noeviction");
    await a.client.config("SET", "maxmemory", 1);
    await expect(a.client.set("x", "y")).rejects.toThrow(/OOM/);
    for (let round = 0; round < 20; round += 1) {
      await until(() => expect(a.near.mayServe()).toBe(true));
      keepCopy(a, "k");
      expect(await write(b, "k")).toBe("revoked");
      expect(served(a, "k")).toBeUndefined();
    }
    const c = await joinAs({ group, client: connect(redis.url) });
    await until(() => expect(c.near.mayServe()).toBe(true));
  });
});

describe("a claim", () => {
  it("is made while copies are kept, by those that keep any, and not renewed afterwards", async () => {
    const group = uniqueGroup();
    const [keeper, other] = [await joinAs({ group }), await joinAs({ group, copies: false })];
    const commands = new Commands(connect(inject("redisUrl")), { deadlineMs: 1_000 });
    other.near.claim(`${group}:claim`);
    const end = keeper.near.claim(`${group}:held`);
    onTestFinished(end);
    await until(async () => expect(await claimOf(commands, `${group}:held`)).toEqual({ group, version: 1 }));
    expect(await claimOf(commands, `${group}:claim`)).toBeUndefined();
  });
});
