import { describe, expect, it } from "vitest";
import {
  groupKey,
  joinAs,
  keepCopy,
  rowsOf,
  served,
  type TestMember,
  uniqueGroup,
  until,
  untilRenewed,
  untilSettled,
  write,
} from "./harness/members.ts";

/** Two members of a group whose renewals are rare, so that only the inbox tells them anything. */
async function openPair() {
  const group = uniqueGroup();
  const [a, b] = [await joinAs({ group, leaseMs: 1_500 }), await joinAs({ group, leaseMs: 1_500 })];
  await untilSettled(a, b);
  await untilRenewed(a);
  const { generation } = await a.near.joining(100);
  const sent = Number(await a.client.hget(groupKey(group), "sent"));
  const publish = (number: number, text = '["x"]') =>
    a.client.spublish(`${groupKey(group)}:inbox`, `${generation} ${number} somebody ${text}`);
  return { a, b, group, generation, sent, publish };
}

async function untilApplied({ near }: TestMember, applied: number): Promise<void> {
  await until(() => expect(near.counts().applied).toBe(applied));
}

describe("an inbox (C7)", () => {
  it("drops the keys of the next revocation, and those alone", async () => {
    const { a, sent, publish } = await openPair();
    const { applied } = a.near.counts();
    for (const key of ["x", "y"]) keepCopy(a, key);
    await publish(sent + 1);
    await untilApplied(a, applied + 1);
    expect([served(a, "x"), served(a, "y")]).toEqual([undefined, 1]);
    expect(a.near.counts().gaps).toBe(0);
  });

  it("drops everything over a gap", async () => {
    const { a, sent, publish } = await openPair();
    keepCopy(a, "y");
    await publish(sent + 2);
    await until(() => expect(a.near.counts().gaps).toBe(1));
    expect(served(a, "y")).toBeUndefined();
    expect(a.events).toContainEqual({ type: "gap" });
  });

  it("takes one that comes again, or late, for what it says", async () => {
    const { a, sent, publish } = await openPair();
    const { applied } = a.near.counts();
    for (const number of [sent + 2, sent + 1, sent + 2]) await publish(number);
    await untilApplied(a, applied + 3);
    keepCopy(a, "x");
    keepCopy(a, "y");
    await publish(sent + 1);
    await untilApplied(a, applied + 4);
    expect([served(a, "x"), served(a, "y")]).toEqual([undefined, 1]);
    expect(a.near.counts().gaps).toBe(1);
  });

  it("drops all keys with a start, and everything where it can't read which", async () => {
    const { a, sent, publish } = await openPair();
    for (const key of ["x:1", "x:2", "y"]) keepCopy(a, key);
    await publish(sent + 1, '"x:"');
    await until(() => expect(served(a, "x:1") ?? served(a, "x:2")).toBeUndefined());
    expect(served(a, "y")).toBe(1);
    await publish(sent + 2, "{broken");
    await until(() => expect(served(a, "y")).toBeUndefined());
  });

  it("overlooks what is none of its generation's, and nonsense", async () => {
    const { a, group, publish, sent } = await openPair();
    const { applied } = a.near.counts();
    keepCopy(a, "x");
    for (const text of [`older 1 b ["x"]`, "nonsense", ""]) await a.client.spublish(`${groupKey(group)}:inbox`, text);
    await publish(sent + 1, '["z"]');
    await untilApplied(a, applied + 1);
    expect(served(a, "x")).toBe(1);
  });

  it("gives no lease for a renewal that lags, until everything is dropped", async () => {
    const a = await joinAs({ group: uniqueGroup() });
    keepCopy(a, "k");
    await a.client.hincrby(groupKey(a.near.group), "sent", 1);
    await until(() => expect(a.near.counts().gaps).toBe(1));
    expect(served(a, "k")).toBeUndefined();
    await until(() => expect(a.near.mayServe()).toBe(true));
  });

  it("costs time only where an answer is lost: the next renewal says the same", async () => {
    const { a, b, group } = await openPair();
    const joining = await b.near.joining(100);
    keepCopy(a, "k");
    // A revocation of a writer that nobody's answers reach.
    const startedAt = performance.now();
    const sent = await b.client.hincrby(groupKey(group), "sent", 1);
    await b.client.spublish(`${groupKey(group)}:inbox`, `${joining.generation} ${sent} nobody ["k"]`);
    await until(async () => {
      const applied = Object.values(await rowsOf(b.client, group)).map((row) => Number(row.split(" ")[1]));
      expect(Math.min(...applied)).toBeGreaterThanOrEqual(sent);
    });
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(served(a, "k")).toBeUndefined();
    expect(await write(b, "k")).toBe("revoked");
  });
});
