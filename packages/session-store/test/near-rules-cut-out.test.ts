import { expect, it, vi } from "vitest";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { cookie, startEngine } from "./harness/engine.ts";
import {
  type NearEngine,
  after,
  holdReplies,
  keysOf,
  nearHits,
  nearWith,
  openGroup,
  until,
  untilCopied,
} from "./harness/near.ts";
import { testClient } from "./harness/redis.ts";
import { type Create, type Rule, expectKept, expectMissed } from "./harness/without-rule.ts";

const clients = [testClient(), testClient()] as const;

type Two = [NearEngine, NearEngine];

const rules: readonly Rule[] = [
  {
    rule: "a write makes all servers drop their copies before it takes effect (C2, C3)",
    name: "not-revoked",
    file: "src/pending-writes.ts",
    cut: '(await this.#revoke(joining, key, deadline)) === "revoked"',
    instead: "joining !== undefined",
    violations: staleAfterChange,
  },
  {
    rule: "the end of a session is a write like any other (C3)",
    name: "ended-in-one-step",
    file: "src/records.ts",
    cut: "own && !isBirth",
    instead: "own && !isBirth && !ends",
    violations: shownAfterItsEnd,
  },
  {
    rule: "no copy is made while a write is pending (C4)",
    name: "kept-while-pending",
    file: "lua/load-near.lua",
    cut: " and countPending(KEYS[count + at]) == 0",
    instead: "",
    violations: (create) => staleAfterRead(create, "after the revocation"),
  },
  {
    rule: "a write takes effect only while it is pending",
    name: "finished-without-token",
    file: "lua/finish.lua",
    cut: "not till or tonumber(till) <= now() or ",
    instead: "",
    violations: (create) => staleAfterRead(create, "after the mark was lost"),
  },
  {
    rule: "what a read brings that a write has overtaken becomes no copy (C5)",
    name: "reservation-ignored",
    file: "../redis-kit/src/copies.ts",
    cut: "!reservation.isVoid && ",
    instead: "",
    violations: copyOfOvertakenRead,
  },
  {
    rule: "a copy needs a lease (C1)",
    name: "served-without-lease",
    file: "src/near-records.ts",
    cut: " || !this.#near.mayServe()",
    instead: "",
    violations: servedWithoutLease,
  },
  {
    rule: "a copy ends with its record (C10)",
    name: "endless-copy",
    file: "src/near-records.ts",
    cut: "seenAt + remainingMs * (1 - clockDrift)",
    instead: "seenAt + 100 * remainingMs",
    violations: shownAfterItsLife,
  },
  {
    rule: "a use of a session lengthens the life of its copy (S5)",
    name: "unlengthened-copy",
    file: "src/near-records.ts",
    cut: "this.#put(reservation, { raw: copy.raw, remainingMs: lifeMs, seenAt });",
    instead: "",
    violations: touchesTooMany,
  },
  {
    rule: "a Redis that may evict marks is given no copies (C8)",
    name: "any-policy",
    file: "src/near-records.ts",
    cut: " || !this.#eviction.isSafe",
    instead: "",
    violations: copiesOfEvictingRedis,
  },
  {
    rule: "who is in no group does not write what others have copies of",
    name: "foreign-copies-ignored",
    file: "src/records.ts",
    cut: "if (checking) await checking;",
    instead: "if (checking) void checking.catch(() => undefined);",
    violations: writesOfOutsider,
  },
];

it.each(rules)("$name is noticed, without this rule: $rule", expectMissed);

it.each(rules)("… and not with it: $rule", expectKept);

async function staleAfterChange(create: Create): Promise<number> {
  const [one, two] = (await openGroup(clients, { create })) as Two;
  await one.create("a", { n: 1 });
  await untilCopied("a", one);
  await two.change("a", { n: 2 });
  return Number((await one.data("a")).n !== 2);
}

async function shownAfterItsEnd(create: Create): Promise<number> {
  const [one, two] = (await openGroup(clients, { create })) as Two;
  await one.create("a", { n: 1 });
  await untilCopied("a", one);
  await two.sessions.destroy("a");
  return Number((await one.sessions.load("a")) !== undefined);
}

/** One server reads between the revocation of the other's write and its effect. */
async function staleAfterRead(create: Create, when: "after the revocation" | "after the mark was lost") {
  let read: () => Promise<void> = () => Promise.resolve();
  const wrap = (near: NearEngine["near"], index: number) =>
    nearWith(near, {
      revoke: async (...args) => {
        const outcome = await near.revoke(...args);
        if (index === 1) await read();
        return outcome;
      },
    });
  const [one, two] = (await openGroup(clients, { create, wrap })) as Two;
  await one.create("a", { n: 1 });
  await untilCopied("a", one);
  read = async () => {
    read = () => Promise.resolve();
    if (when === "after the mark was lost") await one.client.del(keysOf(one, "a").mark);
    await one.sessions.load("a");
  };
  await two.change("a", { n: 2 });
  return Number((await one.data("a")).n !== 2);
}

async function copyOfOvertakenRead(create: Create): Promise<number> {
  const { held, hold } = holdReplies(clients[0]);
  const [one, two] = (await openGroup([held, clients[1]], { create })) as Two;
  await two.create("a", { n: 1 });
  await untilCopied("settling", one);
  const { arrived, release } = hold();
  const loading = one.sessions.load("a");
  await arrived;
  await two.change("a", { n: 2 });
  release();
  await loading;
  return Number((await one.data("a")).n !== 2);
}

async function servedWithoutLease(create: Create): Promise<number> {
  const wrap = (near: NearEngine["near"]) => nearWith(near, { mayServe: () => false });
  const [one] = (await openGroup([clients[0]], { create, wrap })) as [NearEngine];
  await one.create("a", { n: 1 });
  await until(async () => {
    await one.sessions.load("a");
    expect(one.sessions.counts()["copy-kept"]).toBeGreaterThan(0);
  });
  return nearHits(one, "a", 1);
}

async function shownAfterItsLife(create: Create): Promise<number> {
  const [one] = (await openGroup([clients[0]], { create })) as [NearEngine];
  await one.create("a", { cookie: { ...cookie, originalMaxAge: 600 } });
  await untilCopied("a", one);
  await until(async () => expect(await one.client.exists(keysOf(one, "a").record)).toBe(0));
  return Number((await one.sessions.load("a")) !== undefined);
}

/** One use is recorded; so soon after it none of the next ones has to be. */
async function touchesTooMany(create: Create): Promise<number> {
  const [one] = (await openGroup([clients[0]], { create })) as [NearEngine];
  await one.create("a", { cookie: { ...cookie, originalMaxAge: 5_000 } });
  await untilCopied("a", one);
  await after(600);
  const use = async () => one.sessions.touch((await one.load("a")).tracked);
  expect(await use()).toBe("alive");
  const sent = vi.spyOn(one.client, "evalsha");
  for (let time = 0; time < 10; time += 1) await use();
  const touches = sent.mock.calls.length;
  sent.mockRestore();
  return touches;
}

async function copiesOfEvictingRedis(create: Create): Promise<number> {
  const { port } = await startOwnRedis();
  const client = connect(port);
  await client.config("SET", "maxmemory-policy", "volatile-lru");
  const [one] = (await openGroup([client], { create })) as [NearEngine];
  await one.create("a", { n: 1 });
  await until(() => expect(one.near.mayServe()).toBe(true));
  return nearHits(one, "a", 20);
}

async function writesOfOutsider(create: Create): Promise<number> {
  const [one] = (await openGroup([clients[0]], { create })) as [NearEngine];
  await one.create("a", { n: 1 });
  await until(async () => expect(await one.client.exists(`${one.prefix}h:near`)).toBe(1));
  const outsider = startEngine(clients[1], { prefix: one.prefix }, create);
  await outsider.sessions.destroy("a").catch(() => undefined);
  return 1 - (await one.client.strlen(keysOf(one, "a").record).then((length) => Number(length > 0)));
}
