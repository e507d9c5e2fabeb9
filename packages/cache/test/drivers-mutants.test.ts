import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import type { Driver, ReadReply } from "../src/drivers/driver.ts";
import { MemcachedServers } from "../src/drivers/memcached-servers.ts";
import { type EntryKeys, createKeys } from "../src/keys.ts";
import { type Around, interceptTier, rulesWith, shareMemcached } from "./harness/drivers.ts";
import { type Mutation, mutantOf } from "./harness/mutants.ts";
import { uniqueName } from "./harness/redis.ts";

const rules = rulesWith({ pendingMs: 60_000, tokenLifeMs: 60_000 });
const old = { text: 'v1:"old"', lifeMs: 60_000 };

/** Two servers and one entry; `held` holds the second command of the first server: the one that changes the item. */
interface Scene {
  readonly driver: Driver;
  readonly other: Driver;
  readonly keys: EntryKeys;
  readonly hold: () => Barrier;
}

/** What may never be seen, and whether it is. */
type Violation = (scene: Scene) => Promise<boolean>;

async function read(driver: Driver, keys: EntryKeys, revision = 1): Promise<ReadReply> {
  const [group] = driver.read([{ keys }], { ...rules, revision });
  return (await group?.replies)?.[0] ?? { outcome: "full" };
}

async function tokenFor(driver: Driver, keys: EntryKeys): Promise<string> {
  const reply = await read(driver, keys);
  if (reply.outcome !== "fill") throw new Error(`A token was expected, and not ${reply.outcome}.`);
  return reply.token;
}

async function begin(driver: Driver, keys: EntryKeys) {
  const pending = await driver.begin(keys, rules);
  if (pending === "crowded") throw new Error("It is not.");
  return pending;
}

const isStored = ([stored]: readonly { readonly outcome: string }[]) => stored?.outcome === "stored";

const lateFill: Violation = async ({ driver, other, keys }) => {
  const token = await tokenFor(driver, keys);
  await other.drop([keys]);
  await tokenFor(other, keys);
  return isStored(await driver.store([{ key: keys.entry, token, result: old }], rules));
};

const overlappingWrites: Violation = async ({ driver, other, keys }) => {
  const [first, second] = [await begin(driver, keys), await begin(other, keys)];
  await other.end(second, old, rules);
  return (await driver.end(first, old, rules)) === "stored";
};

const changeDuringWrite: Violation = async ({ driver, other, keys }) => {
  const pending = await begin(driver, keys);
  await other.drop([keys]);
  return (await driver.end(pending, old, rules)) === "stored";
};

const readDuringWrite: Violation = async ({ driver, other, keys }) => {
  await begin(driver, keys);
  return (await read(other, keys)).outcome !== "pending";
};

const lostMark: Violation = async ({ driver, other, keys }) => {
  const pending = await begin(driver, keys);
  // As an eviction does: a begin and an end of a stranger's who knows nothing of the first.
  await other.end({ ...pending }, undefined, rules);
  await other.store([{ key: keys.entry, token: await tokenFor(other, keys), result: old }], rules);
  await driver.end(pending, old, rules);
  return (await read(other, keys)).outcome === "hit";
};

const otherRevision: Violation = async ({ driver, other, keys }) => {
  await driver.store([{ key: keys.entry, token: await tokenFor(driver, keys), result: old }], rules);
  return (await read(other, keys, 2)).outcome === "hit";
};

/** A write begins between the look at an item and its change. */
const overtaken =
  (work: (driver: Driver, keys: EntryKeys, token: string) => Promise<unknown>): Violation =>
  async ({ driver, other, keys, hold }) => {
    const token = await tokenFor(other, keys);
    const barrier = hold();
    const working = work(driver, keys, token);
    await barrier.arrivals(1);
    await begin(other, keys);
    barrier.release();
    await working;
    return (await read(other, keys)).outcome !== "pending";
  };

const overtakenStore = overtaken((driver, { entry }, token) =>
  driver.store([{ key: entry, token, result: old }], rules),
);
const overtakenDrop = overtaken((driver, keys) => driver.drop([keys]));

const transitions = "drivers/transitions.ts";
const items = "drivers/memcached-items.ts";

const mutations: readonly (Mutation & { readonly violation: Violation })[] = [
  {
    name: "a-fill-needs-no-token",
    file: transitions,
    cut: ' || item.token !== token) return { reply: "refused" };',
    instead: ') return { reply: "refused" };',
    violation: lateFill,
  },
  {
    name: "writes-that-overlap-are-not-marked",
    file: transitions,
    cut: "[...dropped(named), { token, isDropped: others.length > 0 }]",
    instead: "[...named, { token, isDropped: false }]",
    violation: overlappingWrites,
  },
  {
    name: "an-invalidation-does-not-mark-writes",
    file: transitions,
    cut: "next: pendingOf(dropped(standing(item, moment)), item.lifeMs) };\n}",
    instead: "next: pendingOf(standing(item, moment), item.lifeMs) };\n}",
    violation: changeDuringWrite,
  },
  {
    name: "a-pending-write-stops-no-fill",
    file: transitions,
    cut: 'if (item?.kind === "pending" && standing(item, moment).length > 0)',
    instead: "if (false)",
    violation: readDuringWrite,
  },
  {
    name: "a-lost-mark-is-no-matter",
    file: transitions,
    cut: 'return { reply: "lapsed", ...(item && { next: "gone" }) };',
    instead: 'return { reply: "lapsed" };',
    violation: lostMark,
  },
  {
    name: "revisions-are-one",
    file: transitions,
    cut: "if (isValueOf(item.text, rules.revision))",
    instead: "if (isValueOf(item.text, 1))",
    violation: otherRevision,
  },
  {
    name: "an-item-is-changed-whatever-it-has-become",
    file: items,
    cut: 'state === undefined ? "add" : "cas"} ${key} 0 ${seconds} ${Buffer.byteLength(text)}`;\n  return `${head}${state === undefined ? "" : ` ${state.cas}`}',
    instead: '"set"} ${key} 0 ${seconds} ${Buffer.byteLength(text)}`;\n  return `${head}',
    violation: overtakenStore,
  },
  {
    name: "an-item-is-deleted-whatever-it-has-become",
    file: items,
    cut: "  const seconds = next",
    instead: '  if (next === "gone") return `delete ${key}\\r\\n`;\n  const seconds = next',
    violation: overtakenDrop,
  },
];

describe("without one of its rules the driver does what it never may", () => {
  let shared: Awaited<ReturnType<typeof shareMemcached>>;
  beforeAll(async () => {
    shared = await shareMemcached(1);
  });
  afterAll(() => shared.stop());

  async function isSeen(violation: Violation, mutation?: Mutation): Promise<boolean> {
    const Mutant = await mutantOf(mutation);
    let barrier: Barrier | undefined;
    const around: Around = async (send) => {
      const reply = await send();
      // Behind the reply to the look, before whatever follows.
      const held = barrier;
      barrier = undefined;
      await held?.pass("the look");
      return reply;
    };
    const open = (tier: unknown) => {
      if (!(tier instanceof MemcachedServers)) throw new Error("These rules are for Memcached.");
      return new Mutant(tier, { name: "c", deadlineMs: 10_000, onEvent: undefined });
    };
    return violation({
      driver: open(interceptTier(shared.connect(), around).memcached),
      other: open(shared.connect().memcached),
      keys: createKeys(uniqueName(), "thing").of("a"),
      hold: () => (barrier = new Barrier()),
    });
  }

  it.each(mutations)("$name", async ({ violation, ...mutation }) => {
    expect(await isSeen(violation)).toBe(false);
    expect(await isSeen(violation, mutation)).toBe(true);
  });
});
