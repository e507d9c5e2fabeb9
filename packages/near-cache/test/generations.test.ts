import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { startReplica } from "../../redis-kit/test/harness/topologies.ts";
import {
  connect,
  groupKey,
  joinAs,
  keepCopy,
  served,
  startProxy,
  type TestMember,
  uniqueGroup,
  until,
  untilRenewed,
  untilSettled,
  write,
} from "./harness/members.ts";

const leaseMs = 600;

/** A member that is cut off, and one that writes, on a Redis of their own. */
async function openPair() {
  const redis = await startOwnRedis({ persistent: true });
  const [group, proxy] = [uniqueGroup(), await startProxy(redis.url)];
  const a = await joinAs({ group, leaseMs, client: connect(proxy.url) });
  const b = await joinAs({ group, leaseMs, client: connect(redis.url) });
  await untilSettled(a, b);
  await untilRenewed(a);
  keepCopy(a, "k");
  return { redis, group, proxy, a, b };
}

/** As who writes does: it begins again where the joining that it began in is over. */
async function writeToEnd(member: TestMember): Promise<void> {
  await until(async () => expect(await write(member, "k").catch(() => "failed")).toBe("revoked"));
}

const beginnings = {
  "Redis was emptied": (b: TestMember) => b.client.flushall(),
  "the group was deleted": (b: TestMember) => b.client.del(groupKey(b.near.group)),
  "a first replica was attached": async (b: TestMember) => {
    const replica = await startReplica({ port: b.client.options.port ?? 0 });
    await replica.stop();
  },
};

describe("a new generation (C9)", () => {
  it.each(Object.entries(beginnings))(
    "lets no write take effect while an older lease may be valid: %s",
    async (_name, begin) => {
      const { proxy, a, b } = await openPair();
      const { generation } = b.near.status();
      await untilRenewed(a);
      await proxy.set("hold");
      await begin(b);
      await until(() => expect(b.near.counts().joins).toBe(2));
      const joinedAt = performance.now();
      await writeToEnd(b);
      expect(a.near.mayServe()).toBe(false);
      expect(served(a, "k")).toBeUndefined();
      expect(performance.now() - joinedAt).toBeGreaterThan(leaseMs - 50);
      expect(b.near.status().generation).not.toBe(generation);
      expect(b.events).toContainEqual({ type: "lost", reason: "removed" });
      const again = performance.now();
      expect(await write(b, "k")).toBe("revoked");
      expect(performance.now() - again).toBeLessThan(100);
    },
  );

  it.each([true, false])("begins when Redis has started again, with what it had (%s)", async (persistent) => {
    const directory = await mkdtemp(join(tmpdir(), "lockstep-near-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const start = { role: "state" as const, port: await freePort(), directory, persistent };
    const before = await startRedis(start);
    onTestFinished(() => before.stop());
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs, client: connect(before.url) });
    await untilSettled(a);
    const { generation } = a.near.status();
    keepCopy(a, "k");
    await before.stop();
    await until(() => expect(a.near.status().state).toBe("joining"));
    expect(served(a, "k")).toBeUndefined();
    await expect(write(a, "k", 1_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const after = await startRedis(start);
    onTestFinished(() => after.stop());
    await until(() => expect(a.near.counts().joins).toBe(2));
    expect(served(a, "k")).toBeUndefined();
    expect(a.near.status().generation).not.toBe(generation);
    await untilSettled(a);
  });

  it("is known to be settled by who joins later", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs: 1_000 });
    await untilSettled(a);
    await untilRenewed(a);
    await untilRenewed(a);
    const b = await joinAs({ group, leaseMs: 1_000 });
    const startedAt = performance.now();
    expect(await write(b, "k")).toBe("revoked");
    expect(performance.now() - startedAt).toBeLessThan(200);
  });

  it("supersedes the writes that wait in the one before", async () => {
    const { proxy, a, b } = await openPair();
    await untilRenewed(a);
    await proxy.set("hold");
    const joining = await b.near.joining(100);
    const revoking = b.near.revoke(joining, { keys: ["k"] }, 5_000);
    await b.client.flushall();
    expect(await revoking).toBe("superseded");
    expect(await b.near.revoke(joining, { keys: ["k"] }, 5_000)).toBe("superseded");
    await writeToEnd(b);
    expect(a.near.mayServe()).toBe(false);
  });

  it("makes its writes wait anew where another comes before it is settled", async () => {
    const { proxy, a, b } = await openPair();
    await untilRenewed(a);
    await proxy.set("hold");
    await b.client.flushall();
    await until(() => expect(b.near.counts().joins).toBe(2));
    const joining = await b.near.joining(100);
    const revoking = b.near.revoke(joining, { keys: ["k"] }, 5_000);
    await b.client.flushall();
    expect(await revoking).toBe("superseded");
    await until(() => expect(b.near.counts().joins).toBe(3));
    const joinedAt = performance.now();
    await writeToEnd(b);
    expect(performance.now() - joinedAt).toBeGreaterThan(leaseMs - 50);
    expect(a.near.mayServe()).toBe(false);
  });

  it("fails a write at once that has less time than is left of older leases", async () => {
    const a = await joinAs({ group: uniqueGroup(), leaseMs: 5_000 });
    const startedAt = performance.now();
    await expect(write(a, "k", 1_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - startedAt).toBeLessThan(500);
  });
});
