import { expect, inject, it } from "vitest";
import { Commands } from "@lockstep/redis-kit";
import { createGroupKeys } from "../src/keys.ts";
import { startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
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
import { type Parts, type Rule, expectKept, expectMissed } from "./harness/without-rule.ts";

const rules: readonly Rule[] = [
  {
    rule: "a copy needs a lease (C1)",
    name: "copy-without-lease",
    file: "src/lease.ts",
    cut: "now < this.#endsAt && Date.now() < this.#wallEndsAt",
    instead: "now < Infinity || this.#wallEndsAt < this.#endsAt",
    violations: staleWhileSilent,
  },
  {
    rule: "a lease counts from the sending of its renewal (C1)",
    name: "lease-from-reply",
    file: "src/membership.ts",
    cut: "this.#lease.grant(sent);",
    instead: "this.#lease.grant({ at: performance.now(), wallAt: Date.now() });",
    violations: leaseTooLong,
  },
  {
    rule: "everyone is asked (C2)",
    name: "one-member-not-asked",
    file: "src/revocations.ts",
    cut: "row.copies && row.nonce !== nonce",
    instead: 'row.copies && row.nonce !== nonce && row.label !== "silent"',
    violations: staleWhileSilent,
  },
  {
    rule: "a write waits until all have answered (C3)",
    name: "no-wait",
    file: "src/revocations.ts",
    cut: "if (silent.length === 0) return",
    instead: "if (silent.length < Infinity) return",
    violations: staleWhileSilent,
  },
  {
    rule: "a silent member is removed once its lease has lapsed (C3)",
    name: "removed-before-lapse",
    file: "src/peers.ts",
    cut: "since + this.#leaseMs * (1 + clockDrift)",
    instead: "since + 0 * this.#leaseMs * clockDrift",
    violations: staleWhileSilent,
  },
  {
    rule: "a member that has renewed since stays (C3)",
    name: "removed-though-renewed",
    file: "lua/watch.lua",
    cut: 'string.match(row, "^%d+") == ARGV[i + 1]',
    instead: 'ARGV[i + 1] ~= ""',
    violations: removedThoughRenewed,
  },
  {
    rule: "a member that was removed revokes nothing (C3)",
    name: "revoke-by-anyone",
    file: "lua/revoke.lua",
    cut: ' or redis.call("HEXISTS", KEYS[1], rowOf(ARGV[2])) == 0',
    instead: "",
    violations: revokedByRemoved,
  },
  {
    rule: "joining empties the copies (C5)",
    name: "join-keeps-copies",
    file: "src/membership.ts",
    cut: "this.#holders.empty();\n    const own",
    instead: "const own",
    violations: copiesAfterJoining,
  },
  {
    rule: "a revocation voids the reservations (C5)",
    name: "revocation-leaves-reservation",
    file: "../redis-kit/src/copies.ts",
    cut: "for (const reservation of this.#reservations.get(key) ?? []) reservation.isVoid = true;",
    instead: "",
    violations: copyOfOvertakenRead,
  },
  {
    rule: "over a gap everything is dropped (C7)",
    name: "gap-ignored",
    file: "src/membership.ts",
    cut: 'if (joined.inbox.receive(number) === "gap") this.#dropAll();',
    instead: "if (joined.inbox.receive(number) === undefined) this.#dropAll();",
    violations: staleOverGap,
  },
  {
    rule: "no lease for who has missed a revocation (C7)",
    name: "lag-ignored",
    file: "src/membership.ts",
    cut: "if (inbox.catchUp(reply.sent)) {",
    instead: "if (reply.sent < 0) {",
    violations: staleWhileLagging,
  },
  {
    rule: "no write takes effect in a generation that is not settled (C9)",
    name: "effect-in-unsettled-generation",
    file: "src/revocations.ts",
    cut: "if (leftMs <= 0) return;",
    instead: "if (leftMs < Infinity) return;",
    violations: staleInNewGeneration,
  },
  {
    rule: "in another generation absence tells nothing (C9)",
    name: "absence-in-any-generation",
    file: "lua/watch.lua",
    cut: "generationNow() ~= ARGV[1]",
    instead: "generationNow() == nil",
    violations: absentInOtherGeneration,
  },
];

it.each(rules)("$name is noticed, without this rule: $rule", expectMissed);

it.each(rules)("… and not with it: $rule", expectKept);

/** A member that hears nothing any more, while another one writes. */
async function staleWhileSilent({ join, Store }: Parts): Promise<number> {
  const [group, leaseMs, proxy] = [uniqueGroup(), 600, await startProxy()];
  const a = await joinAs({ join, Store, group, leaseMs, label: "silent", client: connect(proxy.url) });
  const b = await joinAs({ join, Store, group, leaseMs });
  await untilSettled(a, b);
  await untilRenewed(a);
  keepCopy(a, "k");
  await proxy.set("hold");
  expect(served(a, "k")).toBe(1);
  while ((await write(b, "k")) === "superseded");
  return served(a, "k") === undefined ? 0 : 1;
}

/** By a renewal that took 200 ms to arrive. */
async function leaseTooLong({ join }: Parts): Promise<number> {
  const proxy = await startProxy();
  const a = await joinAs({ join, group: uniqueGroup(), leaseMs: 1_000, client: connect(proxy.url) });
  await proxy.set({ delayMs: 200 });
  await untilRenewed(a);
  await untilRenewed(a);
  expect(a.near.status().leaseLeftMs).toBeGreaterThan(0);
  return a.near.status().leaseLeftMs > 990 - 200 ? 1 : 0;
}

function scriptsOf({ Scripts }: Parts, group: string, url = inject("redisUrl")) {
  return new Scripts(new Commands(connect(url), { deadlineMs: 1_000 }), createGroupKeys("", group));
}

/** Somebody was told of its joining, and then of nothing for a lease. */
async function removedThoughRenewed(parts: Parts): Promise<number> {
  const group = uniqueGroup();
  const a = await joinAs({ ...parts, group });
  const { generation, nonce } = await a.near.joining(100);
  await untilRenewed(a);
  const rows = await scriptsOf(parts, group).watch(generation, [{ nonce, lapsedAt: 0 }]);
  expect(rows).toHaveLength(1);
  return rows[0] === undefined ? 1 : 0;
}

async function revokedByRemoved({ join }: Parts): Promise<number> {
  const group = uniqueGroup();
  const a = await joinAs({ join, group, leaseMs: 2_000 });
  await untilSettled(a);
  const joining = await a.near.joining(100);
  await a.client.hdel(groupKey(group), `member:${joining.nonce}`);
  return (await a.near.revoke(joining, { keys: ["k"] }, 1_000)) === "revoked" ? 1 : 0;
}

async function copiesAfterJoining({ join, Store }: Parts): Promise<number> {
  const group = uniqueGroup();
  const a = await joinAs({ join, Store, group, client: connect(undefined, { connectionName: group }) });
  keepCopy(a, "k");
  await killMembers(connect(), group);
  await until(() => expect(a.near.counts().joins).toBe(2));
  await until(() => expect(a.near.mayServe()).toBe(true));
  return served(a, "k") === undefined ? 0 : 1;
}

async function copyOfOvertakenRead({ join, Store }: Parts): Promise<number> {
  const group = uniqueGroup();
  const [a, b] = [await joinAs({ join, Store, group }), await joinAs({ join, Store, group })];
  await untilSettled(a, b);
  const reservation = a.copies.reserve("k");
  expect(await write(b, "k")).toBe("revoked");
  a.copies.keep(reservation, { value: "old", bytes: 1, endsAt: Infinity, onEvicted: () => undefined });
  return served(a, "k") === undefined ? 0 : 1;
}

/** A revocation that was counted and never came, and the next one. */
async function staleOverGap({ join, Store }: Parts): Promise<number> {
  const group = uniqueGroup();
  const options = { join, Store, group, leaseMs: 3_000 };
  const [a, b] = [await joinAs(options), await joinAs(options)];
  await untilSettled(a, b);
  keepCopy(a, "k");
  await untilRenewed(a);
  await a.client.hincrby(groupKey(group), "sent", 1);
  expect(await write(b, "other")).toBe("revoked");
  expect(a.near.mayServe()).toBe(true);
  return served(a, "k") === undefined ? 0 : 1;
}

/** The same, and no next one. */
async function staleWhileLagging({ join, Store }: Parts): Promise<number> {
  const group = uniqueGroup();
  const a = await joinAs({ join, Store, group });
  keepCopy(a, "k");
  await a.client.hincrby(groupKey(group), "sent", 1);
  await pause(500);
  await until(() => expect(a.near.mayServe()).toBe(true));
  return served(a, "k") === undefined ? 0 : 1;
}

/** A member of the old generation is cut off, and hears of nothing. */
async function staleInNewGeneration({ join, Store }: Parts): Promise<number> {
  const redis = await startOwnRedis();
  const [group, leaseMs, proxy] = [uniqueGroup(), 800, await startProxy(redis.url)];
  const a = await joinAs({ join, Store, group, leaseMs, client: connect(proxy.url) });
  const b = await joinAs({ join, Store, group, leaseMs, client: connect(redis.url) });
  await untilSettled(a, b);
  keepCopy(a, "k");
  await untilRenewed(a);
  await proxy.set("hold");
  await b.client.flushall();
  await until(() => expect(b.near.counts().joins).toBe(2));
  let outcome = "";
  for (let tries = 0; outcome !== "revoked" && tries < 5; tries += 1) outcome = await write(b, "k");
  expect(outcome).toBe("revoked");
  return served(a, "k") === undefined ? 0 : 1;
}

async function absentInOtherGeneration(parts: Parts): Promise<number> {
  const group = uniqueGroup();
  const a = await joinAs({ ...parts, group });
  const old = await a.near.joining(100);
  await a.client.del(groupKey(group));
  await until(() => expect(a.near.counts().joins).toBe(2));
  return (await scriptsOf(parts, group).watch(old.generation, [{ nonce: old.nonce, lapsedAt: 0 }])) === "over" ? 0 : 1;
}
