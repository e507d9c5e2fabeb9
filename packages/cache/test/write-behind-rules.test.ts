import { expect, it } from "vitest";
import { connect } from "../../redis-kit/test/harness/redis.ts";
import type { createCache } from "../src/index.ts";
import { Ledger } from "./harness/ledger.ts";
import { uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { openQueueServer, startQueueRedis } from "./harness/write-behind.ts";
import { withoutRule } from "./harness/without-rule.ts";

type Create = typeof createCache;

interface Rule {
  readonly rule: string;
  readonly name: string;
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (create: Create) => Promise<number>;
}

const hour = 3_600_000;

const rules: readonly Rule[] = [
  {
    rule: "a drain hurries what another server holds",
    name: "hurried-here-alone",
    file: "lua/queue-claim.lua",
    cut: 'redis.call("GET", KEYS[4]) or "0"',
    instead: '"0"',
    violations: leftByDrainOfAnother,
  },
  {
    rule: "rows that are due in a future that no row is told to wait for are due now",
    name: "held-up-by-clock",
    file: "lua/queue-times.lua",
    cut: "areMended(queue, now + longestWaitMs, now)",
    instead: "true",
    violations: (create) => heldUpByClock(create, "queue"),
  },
  {
    rule: "rows that wait since a moment that is to come are counted by a drain",
    name: "drain-lies",
    file: "lua/queue-times.lua",
    cut: "return areMended(since, now, now) and isQueue",
    instead: "return isQueue",
    violations: (create) => heldUpByClock(create, "since"),
  },
  {
    rule: "a number is not loaded for a Redis that takes no writes",
    name: "loaded-for-nothing",
    file: "lua/queue-increment.lua",
    cut: 'redis.call("SET", KEYS[3], redis.call("GET", KEYS[3]) or "0")',
    instead: "",
    violations: loadsForFullRedis,
  },
  {
    rule: "the lease of a partition in which nothing waits is given back",
    name: "idle-lease-kept",
    file: "lua/queue-claim.lua",
    cut: 'redis.call("DEL", KEYS[1])\n  end',
    instead: "end",
    violations: (create) => leasesOfIdle(create),
  },
];

it.each(rules)("$name is noticed, without this rule: $rule", async ({ name, file, cut, instead, violations }) => {
  const { createCache } = await withoutRule(name, { file, cut, instead });
  expect(await violations(createCache)).toBeGreaterThan(0);
});

it.each(rules)("… and not with it: $rule", async ({ violations }) => {
  const { createCache } = await import("../src/index.ts");
  expect(await violations(createCache)).toBe(0);
});

async function leftByDrainOfAnother(create: Create): Promise<number> {
  const { port, client } = await startQueueRedis();
  const ledger = new Ledger();
  const same = { create, name: uniqueName(), flushAfterMs: hour, saveTimeoutMs: 1_000 };
  const one = openQueueServer(ledger, { client, ...same });
  await one.rows.set("a", 1);
  await until(async () => expect(await client.exists(one.keys.of("a").partition.lease)).toBe(1));
  const other = openQueueServer(ledger, { client: connect(port), ...same });
  return other.rows.drain({ timeoutMs: 1_500 });
}

/** How many rows are not saved by a drain that says that none is left, or that is given two seconds. */
async function heldUpByClock(create: Create, which: "queue" | "since"): Promise<number> {
  const { client } = await startQueueRedis();
  const ledger = new Ledger();
  const { rows, keys } = openQueueServer(ledger, { client, create, flushAfterMs: 2_000 });
  const { partition } = keys.of("a");
  await rows.set("a", 1);
  await client.zincrby(partition[which], hour, "a");
  await rows.drain({ timeoutMs: 2_500 });
  return ledger.rows.has("a") ? 0 : 1;
}

async function loadsForFullRedis(create: Create): Promise<number> {
  const { client } = await startQueueRedis();
  const ledger = new Ledger<number>();
  const { rows } = openQueueServer(ledger, { client, create, flushAfterMs: hour });
  await rows.set("other", 1);
  await client.config("SET", "maxmemory", "1mb");
  await rows.increment("a").catch(() => undefined);
  return ledger.loads.length;
}

async function leasesOfIdle(create: Create): Promise<number> {
  const { client } = await startQueueRedis();
  const { rows, keys } = openQueueServer(new Ledger(), { client, create, saveTimeoutMs: 1_500 });
  const { lease } = keys.of("a").partition;
  await rows.set("a", 1);
  await until(async () => expect(await client.exists(lease)).toBe(1));
  const heldAt = performance.now();
  await until(async () => expect(await client.exists(lease)).toBe(0));
  // What lapses by itself does so no earlier than that.
  return performance.now() - heldAt > 1_400 ? 1 : 0;
}
