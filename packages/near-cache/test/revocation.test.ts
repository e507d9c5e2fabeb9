import { describe, expect, it } from "vitest";
import { NearError } from "../src/index.ts";
import {
  connect,
  joinAs,
  keepCopy,
  pause,
  rowsOf,
  served,
  startProxy,
  uniqueGroup,
  until,
  untilRenewed,
  untilSettled,
  write,
} from "./harness/members.ts";

const leaseMs = 500;

/** A member behind a proxy, and one that writes. */
async function openCutOff() {
  const [group, proxy] = [uniqueGroup(), await startProxy()];
  const a = await joinAs({ group, leaseMs, client: connect(proxy.url), label: "cut off" });
  const b = await joinAs({ group, leaseMs });
  await untilSettled(a, b);
  await untilRenewed(a);
  return { group, proxy, a, b };
}

describe("a write (C2, C3)", () => {
  it("returns only when a silent member may serve no more, and then removes it", async () => {
    const { group, proxy, a, b } = await openCutOff();
    keepCopy(a, "k");
    await proxy.set("hold");
    const startedAt = performance.now();
    const writing = write(b, "k").then((outcome) => ({ outcome, mayServe: a.near.mayServe() }));
    expect(served(a, "k")).toBe(1);
    expect(await writing).toEqual({ outcome: "revoked", mayServe: false });
    expect(performance.now() - startedAt).toBeLessThan(b.near.stallMs + 250);
    expect(b.near.counts()).toMatchObject({ stalls: 1, removedMembers: 1 });
    expect(b.events).toContainEqual({ type: "member-removed", label: "cut off" });
    expect(Object.keys(await rowsOf(b.client, group))).toHaveLength(1);
    // It holds up one write, and no other.
    expect(await write(b, "k")).toBe("revoked");
    expect(b.near.counts().stalls).toBe(1);
  });

  it("fails in its time where a member is silent for longer", async () => {
    const { proxy, b } = await openCutOff();
    await proxy.set("hold");
    await expect(write(b, "k", 100)).rejects.toMatchObject({ name: "NearError", code: "UNAVAILABLE" });
    expect(b.near.counts().timedOut).toBe(1);
  });

  it("waits for a member that is slow and renews, and does not remove it", async () => {
    const { proxy, a, b } = await openCutOff();
    await proxy.set({ delayMs: 120 });
    for (let round = 0; round < 10; round += 1) {
      keepCopy(a, "k");
      expect(await write(b, "k")).toBe("revoked");
      expect(served(a, "k")).toBeUndefined();
    }
    expect(b.near.counts()).toMatchObject({ stalls: 0, removedMembers: 0 });
    expect(a.near.counts().joins).toBe(1);
  });

  it("does not wait for a member that died while nobody wrote: it is gone within about two leases", async () => {
    const { group, proxy, b } = await openCutOff();
    await proxy.set("hold");
    await until(() => expect(b.near.counts().removedMembers).toBe(1));
    const startedAt = performance.now();
    expect(await write(b, "k")).toBe("revoked");
    expect(performance.now() - startedAt).toBeLessThan(100);
    expect(Object.keys(await rowsOf(b.client, group))).toHaveLength(1);
  });

  it("asks every member, whether or not it has a copy", async () => {
    const group = uniqueGroup();
    const members = [];
    for (let index = 0; index < 64; index += 1) members.push(await joinAs({ group, leaseMs: 3_000 }));
    const [writer, ...others] = members;
    if (writer === undefined) throw new Error("Nobody has joined.");
    await untilSettled(writer);
    for (let round = 0; round < 5; round += 1) {
      for (const member of others) keepCopy(member, "k");
      expect(await write(writer, "k")).toBe("revoked");
      expect(others.filter((member) => served(member, "k") !== undefined)).toEqual([]);
    }
    for (const { near } of others) expect(near.counts()).toMatchObject({ applied: 6, gaps: 0 });
  });

  it("goes on with many others of many members, none of which misses one", async () => {
    const group = uniqueGroup();
    const members = [];
    for (let index = 0; index < 4; index += 1) members.push(await joinAs({ group, leaseMs: 2_000 }));
    await untilSettled(...members);
    await Promise.all(
      members.map(async (member, index) => {
        for (let round = 0; round < 100; round += 1) {
          const key = `k${round % 3}`;
          keepCopy(member, key);
          expect(await write(member, key)).toBe("revoked");
          if (round % 10 === index) await pause(1);
        }
      }),
    );
    for (const { near } of members) expect(near.counts()).toMatchObject({ gaps: 0, stalls: 0, superseded: 0 });
  });

  it("does not wait for members that keep no copies, whose writes make others drop theirs", async () => {
    const [group, proxy] = [uniqueGroup(), await startProxy()];
    const writer = await joinAs({ group, leaseMs, copies: false, client: connect(proxy.url) });
    const keeper = await joinAs({ group, leaseMs });
    await untilSettled(writer, keeper);
    keepCopy(keeper, "k");
    expect(await write(writer, "k")).toBe("revoked");
    expect(served(keeper, "k")).toBeUndefined();
    keepCopy(writer, "k");
    expect(served(writer, "k")).toBeUndefined();
    await proxy.set("hold");
    const startedAt = performance.now();
    expect(await write(keeper, "k")).toBe("revoked");
    expect(performance.now() - startedAt).toBeLessThan(100);
  });

  it("is announced to the others by who does not wait", async () => {
    const group = uniqueGroup();
    const [a, b] = [await joinAs({ group }), await joinAs({ group })];
    await untilSettled(a, b);
    keepCopy(a, "k");
    b.near.announce({ keys: ["k"] });
    await until(() => expect(served(a, "k")).toBeUndefined());
  });

  it("makes other holders of its own server drop it, too", async () => {
    const a = await joinAs({ group: uniqueGroup() });
    await untilSettled(a);
    keepCopy(a, "k");
    expect(await a.near.revoke(await a.near.joining(100), { keys: ["k"] }, 1_000)).toBe("revoked");
    expect(served(a, "k")).toBeUndefined();
  });

  it("goes on at once when a member leaves", async () => {
    const group = uniqueGroup();
    const [a, b] = [await joinAs({ group, leaseMs: 5_000 }), await joinAs({ group, leaseMs: 5_000 })];
    await untilSettled(a, b);
    keepCopy(a, "k");
    await a.near.close();
    expect(served(a, "k")).toBeUndefined();
    const startedAt = performance.now();
    expect(await write(b, "k")).toBe("revoked");
    expect(performance.now() - startedAt).toBeLessThan(300);
    expect(b.near.counts().stalls).toBe(0);
  });

  it("is refused where more are under way than there may be", async () => {
    const a = await joinAs({ group: uniqueGroup() });
    const joining = await a.near.joining(100);
    const writes = Array.from({ length: 10_050 }, () => a.near.revoke(joining, { keys: ["k"] }, 2_000));
    const outcomes = await Promise.allSettled(writes);
    const refused = outcomes.filter((one) => one.status === "rejected").map((one): unknown => one.reason);
    expect(refused.filter((error) => error instanceof NearError && error.code === "OVERLOADED")).toHaveLength(50);
  });
});
