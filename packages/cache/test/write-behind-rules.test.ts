import { expect, it } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { connect } from "../../redis-kit/test/harness/redis.ts";
import { Ledger } from "./harness/ledger.ts";
import { intercept, uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { openQueueServer, startQueueRedis } from "./harness/write-behind.ts";
import { type Create, type Rule, expectKept, expectMissed } from "./harness/without-rule.ts";

const hour = 3_600_000;

const rules: readonly Rule[] = [
  {
    rule: "a drain hurries what another server holds",
    name: "hurried-here-alone",
    file: "lua/queue-claim.lua",
    cut: 'redis.call("GET", KEYS[4])',
    instead: "false",
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
    violations: leasesOfIdle,
  },
  {
    rule: "who accepts a row wakes its own flusher when that is due",
    name: "not-woken",
    file: "src/write-behind/collection.ts",
    cut: "else this.#flusher.due(partition, this.#options.flushAfterMs);",
    instead: "",
    violations: lateByIdleness,
  },
  {
    rule: "a batch that is not answered is asked for in halves",
    name: "never-smaller",
    file: "src/write-behind/partition-flusher.ts",
    cut: "this.#batchSize = Math.ceil(size / 2);",
    instead: "",
    violations: unsavedOfLargeBatch,
  },
  {
    rule: "a failure that goes on is told of once a minute",
    name: "told-each-time",
    file: "src/write-behind/failure-news.ts",
    cut: "this.#toldAt.has(kind) || this.#toldAt.size >= maxKinds",
    instead: "false",
    violations: toldAgain,
  },
];

it.each(rules)("$name is noticed, without this rule: $rule", expectMissed);

it.each(rules)("… and not with it: $rule", expectKept);

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
  const ledger = new Ledger();
  const { rows, keys } = openQueueServer(ledger, { client, create, saveTimeoutMs: 1_500 });
  const { lease } = keys.of("a").partition;
  const saving = new Barrier();
  ledger.hold({ before: saving });
  await rows.set("a", 1);
  await saving.arrivals(1);
  expect(await client.exists(lease)).toBe(1);
  const savedAt = performance.now();
  saving.release();
  await until(async () => expect(await client.exists(lease)).toBe(0));
  // What lapses by itself does so no earlier than that.
  return performance.now() - savedAt > 1_400 ? 1 : 0;
}

async function lateByIdleness(create: Create): Promise<number> {
  const { client } = await startQueueRedis();
  const ledger = new Ledger();
  const { rows } = openQueueServer(ledger, { client, create, saveTimeoutMs: 3_000 });
  await rows.set("a", "warm-up");
  await until(() => expect(ledger.valueOf("a")).toBe("warm-up"));
  let late = 0;
  for (let n = 0; n < 2; n += 1) {
    await until(async () => expect((await rows.backlog()).rows).toBe(0));
    await rows.set("a", n);
    const acceptedAt = performance.now();
    await until(() => expect(ledger.valueOf("a")).toBe(n));
    if (performance.now() - acceptedAt > 1_000) late += 1;
  }
  return late;
}

async function unsavedOfLargeBatch(create: Create): Promise<number> {
  const { port } = await startQueueRedis();
  const ledger = new Ledger();
  const slow = intercept(connect(port), async (send) => {
    const reply = await send();
    const isLarge = Array.isArray(reply) && reply.filter((each) => /^\d{16} v/.test(String(each))).length > 15;
    return isLarge ? new Promise(() => undefined) : reply;
  });
  const { rows, keys } = openQueueServer(ledger, { client: slow, create, deadlineMs: 200, flushAfterMs: 300 });
  const [partition] = keys.partitions;
  const ids = Array.from({ length: 4_000 }, (_, index) => `id-${index}`);
  const large = ids.filter((id) => keys.of(id).partition === partition).slice(0, 60);
  await until(() => rows.set("first", 1));
  await until(() => expect(ledger.valueOf("first")).toBe(1));
  await Promise.all(large.map((id) => rows.set(id, id)));
  const unsaved = () => large.filter((id) => !ledger.rows.has(id)).length;
  const acceptedAt = performance.now();
  await until(() => expect(unsaved() === 0 || performance.now() - acceptedAt > 6_000).toBe(true));
  return unsaved();
}

async function toldAgain(create: Create): Promise<number> {
  const { client } = await startQueueRedis();
  const ledger = new Ledger();
  const { rows, events } = openQueueServer(ledger, { client, create });
  ledger.turn("throws");
  await rows.set("a", 1);
  await until(() => expect(rows.counts().failedSaves).toBeGreaterThan(2));
  return events.filter(({ type }) => type === "flush-failed").length - 1;
}
