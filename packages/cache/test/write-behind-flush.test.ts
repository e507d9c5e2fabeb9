import type { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { connect } from "../../redis-kit/test/harness/redis.ts";
import { Ledger } from "./harness/ledger.ts";
import { intercept, uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { type QueueServer, openQueueServer, openQueueServers, startQueueRedis } from "./harness/write-behind.ts";

const hour = 3_600_000;

function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `id-${index}`);
}

/** Ids of one partition: their batches are one another's. */
function idsOfOnePartition({ keys }: QueueServer<never>, count: number): string[] {
  const [partition] = keys.partitions;
  return idsOf(count * 60)
    .filter((id) => keys.of(id).partition === partition)
    .slice(0, count);
}

/** Saves of the row "bad" fail if this says so. */
function failing(ledger: Ledger, fails: () => Promise<boolean>): Ledger["save"] {
  return async (batch, context) => {
    if (batch.some(({ id }) => id === "bad") && (await fails())) throw new Error("The source refuses a row.");
    await ledger.save(batch, context);
  };
}

async function untilSaved({ rows }: Pick<QueueServer<unknown>, "rows">): Promise<void> {
  await until(async () => expect((await rows.backlog()).rows).toBe(0));
}

/** Long before it would lapse. */
async function expectGivenBack(client: Redis, lease: string): Promise<void> {
  const askedAt = performance.now();
  await until(async () => expect(await client.exists(lease)).toBe(0));
  expect(performance.now() - askedAt).toBeLessThan(2_500);
}

function typesOf({ events }: Pick<QueueServer<unknown>, "events">): Set<string> {
  return new Set(events.map(({ type }) => type));
}

describe("a source that is down for a while", () => {
  it.each(["throws", "hangs"] as const)(
    "loses nothing, and makes no dead letters: it %s, and everything arrives afterwards",
    async (state) => {
      const { client } = await startQueueRedis();
      const ledger = new Ledger();
      const server = openQueueServer(ledger, { client, saveTimeoutMs: 100, maxAttempts: 1 });
      const ids = idsOf(30);
      await server.rows.set("before", 0);
      await untilSaved(server);
      ledger.turn(state);
      await Promise.all(ids.map((id) => server.rows.set(id, `value of ${id}`)));
      // Longer than it takes until rows are tried alone.
      await until(() => expect(ledger.batches.filter(({ length }) => length === 1).length).toBeGreaterThan(20));
      const { rows, oldestMs, deadLetters } = await server.rows.backlog();
      expect({ rows, deadLetters }).toEqual({ rows: 30, deadLetters: 0 });
      expect(oldestMs).toBeGreaterThan(100);
      expect(await server.rows.getMany(ids)).toEqual(ids.map((id) => `value of ${id}`));
      ledger.turn("up");
      await untilSaved(server);
      expect(ids.map((id) => ledger.valueOf(id))).toEqual(ids.map((id) => `value of ${id}`));
      expect(typesOf(server)).toEqual(new Set(["flush-failed"]));
      expect(server.rows.counts()).toMatchObject({ deadLetters: 0 });
      expect(server.rows.latency().lag.count).toBe(31);
    },
    40_000,
  );
});

describe("a source that one server alone cannot reach", () => {
  it("is reached by another, which is given its turn", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const name = uniqueName();
    const out = new Error("The password has changed.");
    const ill = openQueueServer(ledger, {
      client: connect(port),
      name,
      save: () => Promise.reject(out),
      saveTimeoutMs: 100,
    });
    const ids = idsOf(40);
    await Promise.all(ids.map((id) => ill.rows.set(id, `value of ${id}`)));
    await until(() => expect(typesOf(ill)).toContain("flush-failed"));
    openQueueServer(ledger, { client: connect(port), name, saveTimeoutMs: 100 });
    await untilSaved(ill);
    expect(ids.map((id) => ledger.valueOf(id))).toEqual(ids.map((id) => `value of ${id}`));
    expect(ill.rows.counts().deadLetters).toBe(0);
  }, 40_000);
});

describe("a row that the source refuses", () => {
  it("does not keep others from being saved, and becomes a dead letter, which is kept, read and can be tried again", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, maxAttempts: 2, ttlMs: 50 });
    const ids = idsOfOnePartition(server as QueueServer<never>, 12);
    const poison = ids[5] ?? "";
    ledger.poison.add(poison);
    await Promise.all(ids.map((id) => server.rows.set(id, `value of ${id}`)));
    // Attempts only count while the source saves others.
    await until(async () => {
      for (const id of ids.slice(0, 4)) await server.rows.set(id, performance.now());
      expect((await server.rows.backlog()).deadLetters).toBe(1);
    });
    for (const id of ids) expect(ledger.rows.has(id)).toBe(id !== poison);
    // Once it has failed alone it comes alone.
    const firstAlone = ledger.batches.findIndex((batch) => batch.length === 1 && batch[0] === poison);
    expect(ledger.batches.slice(firstAlone).filter((batch) => batch.includes(poison) && batch.length > 1)).toEqual([]);
    const [letter, ...more] = await server.rows.deadLetters();
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ id: poison, attempts: 2 });
    expect(letter?.version).toBeGreaterThan(10 ** 15);
    expect(await client.pttl(server.keys.of(poison).entry)).toBe(-1);
    expect(await server.rows.get(poison)).toBe(`value of ${poison}`);
    expect(server.events.filter(({ type }) => type === "dead-letter")).toMatchObject([{ collection: "row" }]);
    expect(server.rows.counts()).toMatchObject({ deadLetters: 1 });

    ledger.poison.clear();
    expect(await server.rows.retryDeadLetters()).toBe(1);
    await until(() => expect(ledger.valueOf(poison)).toBe(`value of ${poison}`));
    await untilSaved(server);
    expect(await server.rows.deadLetters()).toEqual([]);
  }, 30_000);

  it("is queued again by a later write", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, maxAttempts: 1 });
    ledger.poison.add("bad");
    await server.rows.set("bad", "refused");
    await until(async () => {
      await server.rows.set("other", performance.now());
      expect((await server.rows.deadLetters()).map(({ id }) => id)).toEqual(["bad"]);
    });
    ledger.poison.clear();
    await server.rows.set("bad", "better");
    expect(await server.rows.deadLetters()).toEqual([]);
    await until(() => expect(ledger.valueOf("bad")).toBe("better"));
  }, 30_000);

  it("is tried with its newer value, if it has been given one meanwhile", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const held = new Barrier();
    let isBetter = false;
    const save = failing(ledger, async () => {
      if (!ledger.rows.has("other")) return true;
      await held.pass("bad");
      return !isBetter;
    });
    const { rows } = openQueueServer(ledger, { client, maxAttempts: 1, saveTimeoutMs: 1_000, save });
    await rows.set("bad", "refused");
    await until(() => expect(rows.counts().failedSaves).toBeGreaterThan(0));
    await rows.set("other", 1);
    await held.arrivals(1);
    await rows.set("bad", "better");
    held.release();
    await until(() => expect(rows.counts().failedSaves).toBeGreaterThan(1));
    isBetter = true;
    await until(() => expect(ledger.valueOf("bad")).toBe("better"));
    expect(rows.counts().deadLetters).toBe(0);
  });

  it("is not to blame for a save that began before the source was seen to be up", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const held = new Barrier();
    let attempts = 0;
    const save = failing(ledger, async () => {
      attempts += 1;
      if (attempts === 2) await held.pass("bad");
      return attempts <= 2;
    });
    const { rows, keys } = openQueueServer(ledger, { client, maxAttempts: 1, saveTimeoutMs: 1_000, save });
    const other = idsOf(50).find((id) => keys.of(id).partition !== keys.of("bad").partition) ?? "";
    await rows.set(other, 1);
    await until(() => expect(rows.counts().saves).toBe(1));
    await rows.set("bad", 1);
    await held.arrivals(1);
    await rows.set(other, 2);
    await until(() => expect(rows.counts().saves).toBe(2));
    held.release();
    await until(() => expect(ledger.valueOf("bad")).toBe(1));
    expect(rows.counts()).toMatchObject({ deadLetters: 0, failedSaves: 2 });
  });

  it("waits for ever while it is all there is, since nobody can tell it from a source that is down", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, maxAttempts: 1 });
    ledger.poison.add("bad");
    await server.rows.set("bad", 1);
    await until(() => expect(ledger.batches.length).toBeGreaterThan(4));
    expect(await server.rows.backlog()).toMatchObject({ rows: 1, deadLetters: 0 });
  });
});

describe("a backlog", () => {
  it("is bounded: further ids are refused, those that wait already are not, nor are others once there is room", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, flushAfterMs: hour, maxBacklog: 48 });
    const [one, two, three, four] = idsOfOnePartition(server as QueueServer<never>, 4) as [
      string,
      string,
      string,
      string,
    ];
    for (const id of [one, two, three]) await server.rows.set(id, 1);
    await expect(server.rows.set(four, 1)).rejects.toMatchObject({ code: "OVERLOADED", status: 503 });
    expect(await client.exists(server.keys.of(four).entry)).toBe(0);
    await server.rows.set(one, 2);
    expect(await server.rows.backlog()).toMatchObject({ rows: 3 });
    expect(server.rows.counts()).toMatchObject({ accepted: 4, coalescedWrites: 1, refusedWrites: 1 });
    await server.rows.drain({ timeoutMs: 5_000 });
    await server.rows.set(four, 1);
  });
});

describe("a drain", () => {
  it("saves what was accepted before it, however long that was to wait", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client, flushAfterMs: hour, maxBatch: 3 });
    await Promise.all(idsOf(100).map((id) => rows.set(id, id)));
    expect(await rows.drain({ timeoutMs: 10_000 })).toBe(0);
    expect(ledger.rows.size).toBe(100);
    await rows.set("later", 1);
    expect(await rows.backlog()).toMatchObject({ rows: 1 });
    expect(ledger.rows.has("later")).toBe(false);
  });

  it("needs a time that can be meant", async () => {
    const { client } = await startQueueRedis();
    const { rows } = openQueueServer(new Ledger(), { client });
    for (const timeoutMs of [NaN, -1, undefined as never]) {
      await expect(rows.drain({ timeoutMs })).rejects.toThrow(TypeError);
    }
  });

  it("tells how many rows are left when its time is over", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client });
    ledger.turn("throws");
    await Promise.all(idsOf(7).map((id) => rows.set(id, id)));
    expect(await rows.drain({ timeoutMs: 200 })).toBe(7);
  });
});

describe("the lease of a partition", () => {
  it("is not given back while a save is under way: in bounded time it lapses, and another server saves the row", async () => {
    const { port, client } = await startQueueRedis();
    const ledger = new Ledger();
    const clients = [connect(port), connect(port)];
    const name = uniqueName();
    const [one, other] = clients.map((each) => openQueueServer(ledger, { client: each, name, saveTimeoutMs: 1_000 }));
    const held = new Barrier();
    ledger.hold({ before: held });
    await one?.rows.set("a", "first");
    await held.arrivals(1);
    const lease = one?.keys.of("a").partition.lease ?? "";
    for (const server of [one, other]) server?.cache.close();
    await new Promise(setImmediate);
    // Behind what they have sent when they were closed.
    for (const each of clients) await each.ping();
    expect(await client.exists(lease)).toBe(1);

    ledger.hold({});
    const third = openQueueServer(ledger, { client, name });
    await until(() => expect(ledger.valueOf("a")).toBe("first"));
    held.release();
    await untilSaved(third);
    expect(ledger.backwards).toEqual([]);
  });

  it("is not taken while Redis may have lost that of another: in its first time, and the first after a failover", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const openedAt = performance.now();
    const { rows } = openQueueServer(ledger, { client, saveTimeoutMs: 1_500 });
    await rows.set("a", 1);
    await until(() => expect(ledger.valueOf("a")).toBe(1));
    expect(performance.now() - openedAt).toBeGreaterThan(1_700);
  });

  it("outlives a save that hangs; what its source does late, by its deadline, comes before a newer value", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const [one, other] = openQueueServers(2, ledger, { port }) as [QueueServer<unknown>, QueueServer<unknown>];
    const committed = new Barrier();
    ledger.hold({ after: committed });
    await one.rows.set("a", "first");
    await committed.arrivals(1);
    await other.rows.set("a", "second");
    ledger.hold({});
    await until(() => expect(ledger.valueOf("a")).toBe("second"));
    committed.release();
    await untilSaved(one);
    expect(ledger.backwards).toEqual([]);
    expect(await one.rows.get("a")).toBe("second");
  });

  it("is no reason to hurry: a newer value waits while what has thrown may still be done by its deadline", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const commits = new Barrier();
    let isFirst = true;
    const save: typeof ledger.save = async (batch, context) => {
      if (!isFirst) return ledger.save(batch, context);
      isFirst = false;
      void commits.pass("late").then(() => ledger.save(batch, { ...context, signal: new AbortController().signal }));
      throw new Error("The connection was lost before the answer.");
    };
    const server = openQueueServer(ledger, { client, saveTimeoutMs: 1_500, save });
    const [one, other] = idsOfOnePartition(server as QueueServer<never>, 2) as [string, string];
    await server.rows.set(one, "first");
    await until(() => expect(server.rows.counts().failedSaves).toBe(1));
    await server.rows.set(one, "second");
    // Long after the first would have been tried again.
    await until(async () => {
      await server.rows.set(other, performance.now());
      expect(ledger.batches.length).toBeGreaterThan(8);
    });
    commits.release();
    await until(() => expect(ledger.valueOf(one)).toBe("first"));
    await until(() => expect(ledger.valueOf(one)).toBe("second"));
    expect(ledger.backwards).toEqual([]);
  });

  it("is given back when nothing waits any more, long before it would lapse", async () => {
    const { client } = await startQueueRedis();
    const { rows, keys } = openQueueServer(new Ledger(), { client, saveTimeoutMs: 2_000 });
    await rows.set("a", 1);
    expect(await rows.drain({ timeoutMs: 10_000 })).toBe(0);
    const savedAt = performance.now();
    await until(async () => expect(await client.exists(keys.of("a").partition.lease)).toBe(0));
    expect(performance.now() - savedAt).toBeLessThan(1_500);
  });

  it("is given back by a server that is closed, so that another need not wait", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { cache, rows, keys } = openQueueServer(ledger, { client, flushAfterMs: hour, saveTimeoutMs: 5_000 });
    await rows.set("a", 1);
    const { lease } = keys.of("a").partition;
    await until(async () => expect(await client.exists(lease)).toBe(1));
    cache.close();
    await expectGivenBack(client, lease);
    expect(ledger.batches).toEqual([]);
  });

  it("is given back by a server that is closed while it claims it", async () => {
    const { client } = await startQueueRedis();
    const claims = new Barrier();
    const slow = intercept(client, async (send) => {
      const reply = await send();
      if (Array.isArray(reply) && reply.includes("held")) await claims.pass("a claim");
      return reply;
    });
    const { cache, rows, keys } = openQueueServer(new Ledger(), {
      client: slow,
      flushAfterMs: hour,
      saveTimeoutMs: 5_000,
    });
    await rows.set("a", 1);
    await claims.arrivals(1);
    cache.close();
    claims.release();
    const { lease } = keys.of("a").partition;
    expect(await client.exists(lease)).toBe(1);
    await expectGivenBack(client, lease);
  });
});
