import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  connect,
  groupKey,
  joinAs,
  keepCopy,
  killMembers,
  pause,
  served,
  startProxy,
  uniqueGroup,
  until,
  untilRenewed,
  untilSettled,
  write,
} from "./harness/members.ts";

describe("a lease (C1)", () => {
  it("counts from the sending of its renewal, however late the reply", async () => {
    const proxy = await startProxy();
    const a = await joinAs({ group: uniqueGroup(), leaseMs: 1_000, client: connect(proxy.url) });
    await proxy.set({ delayMs: 300 });
    await untilRenewed(a);
    await untilRenewed(a);
    expect(a.near.status().leaseLeftMs).toBeLessThanOrEqual(990 - 300);
    expect(proxy.counts.delayedChunks).toBeGreaterThan(0);
  });

  it("lapses where Redis is a black hole, is lost then, and comes back with Redis", async () => {
    const proxy = await startProxy();
    const a = await joinAs({ group: uniqueGroup(), client: connect(proxy.url) });
    keepCopy(a, "k");
    await untilRenewed(a);
    await proxy.set("hold");
    const heldAt = performance.now();
    await until(() => expect(served(a, "k")).toBeUndefined());
    expect(performance.now() - heldAt).toBeLessThan(400);
    await until(() => expect(a.events).toContainEqual({ type: "lost", reason: "unanswered" }));
    await proxy.set("pass");
    await until(() => expect(a.near.mayServe()).toBe(true));
    expect(served(a, "k")).toBeUndefined();
  });

  it("lapses where the member's own connection alone is a black hole, and comes back with it", async () => {
    const proxy = await startProxy();
    const group = uniqueGroup();
    const [a, b] = [await joinAs({ group, client: branching(proxy.port) }), await joinAs({ group })];
    await untilSettled(a, b);
    await untilRenewed(a);
    keepCopy(a, "k");
    await proxy.set("hold");
    const heldAt = performance.now();
    const writing = write(b, "k").then((outcome) => ({ outcome, left: served(a, "k") }));
    await until(() => expect(served(a, "k")).toBeUndefined());
    expect(performance.now() - heldAt).toBeLessThan(400);
    expect(await writing).toEqual({ outcome: "revoked", left: undefined });
    expect(b.near.counts()).toMatchObject({ stalls: 1, removedMembers: 1 });
    // The client's other commands go on, so it is for the member to find out.
    expect(await a.client.ping()).toBe("PONG");
    await until(() => expect(a.near.status()).toMatchObject({ state: "joining", error: { code: "UNAVAILABLE" } }));
    const refusedAt = performance.now();
    await expect(write(a, "k", 500)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - refusedAt).toBeLessThan(750);
    const passedAt = performance.now();
    await proxy.set("pass");
    await until(() => expect(a.near.mayServe()).toBe(true));
    // An attempt to connect that was under way, and the longest pause.
    expect(performance.now() - passedAt).toBeLessThan(3_500);
    expect(served(a, "k")).toBeUndefined();
    expect(await write(a, "k")).toBe("revoked");
    expect(proxy.counts.heldChunks).toBeGreaterThan(0);
  });

  it("ends with a wall clock that has run ahead, as it has after a machine was suspended", async () => {
    const a = await joinAs({ group: uniqueGroup(), leaseMs: 5_000 });
    keepCopy(a, "k");
    expect(served(a, "k")).toBe(1);
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 5_001);
    onTestFinished(() => void vi.restoreAllMocks());
    expect(served(a, "k")).toBeUndefined();
  });

  it("is over when the event loop was blocked for longer, until it is renewed", async () => {
    const a = await joinAs({ group: uniqueGroup(), leaseMs: 200 });
    keepCopy(a, "k");
    expect(served(a, "k")).toBe(1);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    expect(served(a, "k")).toBeUndefined();
    await until(() => expect(a.near.mayServe()).toBe(true));
  });

  it("is not renewed by who was removed while its event loop was blocked", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs: 200 });
    await until(() => expect(a.near.mayServe()).toBe(true));
    keepCopy(a, "k");
    const { nonce } = await a.near.joining(100);
    const removal = a.client.hdel(groupKey(group), `member:${nonce}`);
    await pause(0);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    while (a.near.counts().joins === 1) {
      expect(served(a, "k")).toBeUndefined();
      await pause(0);
    }
    expect(await removal).toBe(1);
    expect(a.events).toContainEqual({ type: "lost", reason: "removed" });
    expect(served(a, "k")).toBeUndefined();
  });

  it("ends at once with its connection, and the server joins again", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs: 10_000, client: connect(undefined, { connectionName: group }) });
    keepCopy(a, "k");
    expect(served(a, "k")).toBe(1);
    await killMembers(connect(), group);
    await until(() => expect(a.events).toContainEqual({ type: "lost", reason: "connection" }));
    expect(served(a, "k")).toBeUndefined();
    await until(() => expect(a.near.counts()).toMatchObject({ joins: 2, losses: { connection: 1 } }));
    expect(served(a, "k")).toBeUndefined();
  });

  it("leaves no row of the joining before where its connection was lost", async () => {
    const group = uniqueGroup();
    const client = connect(undefined, { connectionName: group });
    const [a, b] = [await joinAs({ group, client }), await joinAs({ group })];
    await untilSettled(a, b);
    for (let round = 2; round < 6; round += 1) {
      await killMembers(b.client, group);
      await until(() => expect(a.near.counts().joins).toBe(round));
      expect(await write(b, "k")).toBe("revoked");
    }
    expect(b.near.counts().stalls).toBe(0);
  });
});

/** A client that is connected to the tests' Redis itself, and whose duplicates are through a proxy. */
function branching(port: number): Redis {
  const client = connect();
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (options) => duplicate({ ...options, host: "127.0.0.1", port });
  return client;
}
