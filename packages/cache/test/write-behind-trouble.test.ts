import { describe, expect, it } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { connect } from "../../redis-kit/test/harness/redis.ts";
import { Ledger } from "./harness/ledger.ts";
import { intercept, uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { openQueueServer, openQueueServers, startQueueRedis } from "./harness/write-behind.ts";

const hour = 3_600_000;

function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `id-${index}`);
}

/** So many ids of one partition. */
function idsInPartitionOf(
  { keys }: Pick<ReturnType<typeof openQueueServer>, "keys">,
  id: string,
  count: number,
): string[] {
  const { partition } = keys.of(id);
  return idsOf(40 * count)
    .filter((each) => keys.of(each).partition === partition)
    .slice(0, count);
}

describe("a drain among several servers", () => {
  it("saves what another server's flusher holds, though that is not due for long", async () => {
    const { port, client } = await startQueueRedis();
    const ledger = new Ledger();
    const name = uniqueName();
    const one = openQueueServer(ledger, { client, name, flushAfterMs: hour });
    const ids = idsOf(40);
    await Promise.all(ids.map((id) => one.rows.set(id, id)));
    const leases = [...new Set(ids.map((id) => one.keys.of(id).partition.lease))];
    await until(async () => expect(await client.exists(leases)).toBe(leases.length));
    const other = openQueueServer(ledger, { client: connect(port), name, flushAfterMs: hour });
    expect(await other.rows.drain({ timeoutMs: 10_000 })).toBe(0);
    expect(ledger.rows.size).toBe(40);
    expect(other.rows.counts().savedRows).toBe(0);
    await one.rows.set("later", 1);
    expect(await other.rows.backlog()).toMatchObject({ rows: 1 });
  });

  it("goes on though some of its looks fail, and throws only if nobody knows how much is left", async () => {
    const { port, client } = await startQueueRedis();
    const ledger = new Ledger();
    let sent = 0;
    let fails = (_count: number) => false;
    const shaky = intercept(connect(port), (send) => {
      sent += 1;
      return fails(sent) ? Promise.reject(new Error("The connection was lost.")) : send();
    });
    const name = uniqueName();
    const one = openQueueServer(ledger, { client: shaky, name, flushAfterMs: hour });
    await Promise.all(idsOf(20).map((id) => one.rows.set(id, id)));
    openQueueServer(ledger, { client, name, flushAfterMs: hour });
    fails = (count) => count % 3 === 0;
    expect(await one.rows.drain({ timeoutMs: 10_000 })).toBe(0);
    expect(ledger.rows.size).toBe(20);
    fails = () => true;
    await expect(one.rows.drain({ timeoutMs: 50 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("goes on for as long as it was told to, though another is over sooner", async () => {
    const { port, client } = await startQueueRedis();
    const ledger = new Ledger();
    const held = new Barrier();
    ledger.hold({ before: held });
    const settings = { name: uniqueName(), flushAfterMs: hour, maxBatch: 1 };
    const one = openQueueServer(ledger, { client, ...settings });
    const ids = idsInPartitionOf(one, "a", 6);
    await Promise.all(ids.map((id) => one.rows.set(id, id)));
    const other = openQueueServer(ledger, { client: connect(port), ...settings });
    const first = other.rows.drain({ timeoutMs: 10_000 });
    await held.arrivals(1);
    expect(await one.rows.drain({ timeoutMs: 50 })).toBe(ids.length);
    held.release();
    expect(await first).toBe(0);
  });

  it("is not kept from good rows by a bad one, which waits between its tries as ever", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, flushAfterMs: hour, saveTimeoutMs: 1_000 });
    const [bad = "", ...good] = idsInPartitionOf(server, "a", 6);
    ledger.poison.add(bad);
    for (const id of [bad, ...good]) await server.rows.set(id, id);
    expect(await server.rows.drain({ timeoutMs: 4_000 })).toBe(1);
    expect([...ledger.rows.keys()].toSorted()).toEqual(good.toSorted());
  });

  it("does not ask again and again for a row whose last save may still be done", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    let sent = 0;
    const counted = intercept(client, (send) => {
      sent += 1;
      return send();
    });
    const { rows } = openQueueServer(ledger, { client: counted, flushAfterMs: hour, saveTimeoutMs: 2_000 });
    await rows.set("a", 1);
    ledger.turn("throws");
    const draining = rows.drain({ timeoutMs: 10_000 });
    await until(() => expect(ledger.batches.length).toBeGreaterThan(0));
    await rows.set("a", 2);
    ledger.turn("up");
    const before = sent;
    expect(await draining).toBe(0);
    expect(ledger.valueOf("a")).toBe(2);
    // Some for each look of the drain and of sixteen flushers.
    expect(sent - before).toBeLessThan(1_000);
  });
});

describe("a read that was given a token by a Redis that could then not be looked at", () => {
  it("gives it back, and nobody waits for it to lapse", async () => {
    const { client } = await startQueueRedis();
    let fails = true;
    const answerLost = async (send: () => Promise<unknown>) => {
      const reply = await send();
      if (!fails) return reply;
      fails = false;
      throw new Error("Connection is closed.");
    };
    const { rows } = openQueueServer(new Ledger(), { client: intercept(client, answerLost, ["info"]) });
    await expect(rows.get("a")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const startedAt = performance.now();
    await rows.get("a");
    // Else twice loadTimeoutMs and more.
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

describe("a clock of Redis that is set back", () => {
  async function acceptedBefore(flushAfterMs: number) {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const server = openQueueServer(ledger, { client, flushAfterMs });
    const { partition } = server.keys.of("a");
    await server.rows.set("a", 1);
    // What its times look like then.
    await client.zincrby(partition.queue, hour, "a");
    await client.zincrby(partition.since, hour, "a");
    return { ...server, ledger, client };
  }

  it("does not hold up what was accepted before", async () => {
    const { ledger, rows } = await acceptedBefore(2_000);
    await until(() => expect(ledger.valueOf("a")).toBe(1));
    expect(await rows.backlog()).toMatchObject({ rows: 0 });
  });

  it("does not have a drain, or the age of the oldest row, say that nothing waits", async () => {
    const { ledger, rows } = await acceptedBefore(2_000);
    ledger.turn("throws");
    expect(await rows.drain({ timeoutMs: 100 })).toBe(1);
    await until(async () => expect((await rows.backlog()).oldestMs).toBeGreaterThan(200));
    ledger.turn("up");
    expect(await rows.drain({ timeoutMs: 10_000 })).toBe(0);
    expect(ledger.valueOf("a")).toBe(1);
  });
});

describe("a Redis that refuses writes", () => {
  it("has no number loaded that could not be incremented", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const { rows } = openQueueServer(ledger, { client, flushAfterMs: hour });
    await rows.set("other", 1);
    await client.config("SET", "maxmemory", "1mb");
    await expect(rows.increment("a")).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
    expect(ledger.loads).toEqual([]);
  });

  it("is told of once, and asked less and less often", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows, events } = openQueueServer(ledger, { client });
    await rows.set("before", 1);
    await until(() => expect(ledger.valueOf("before")).toBe(1));
    ledger.turn("throws");
    await Promise.all(idsOf(40).map((id) => rows.set(id, id)));
    await client.config("SET", "min-replicas-to-write", "1");
    const before = await refusalsBy(client);
    await until(async () => expect(await refusalsBy(client)).toBeGreaterThan(before + 16 * 4));
    // Four in a row of each partition: 0.1, 0.2, 0.4 s… One kind of the source's, one of Redis'.
    expect(events.filter(({ type }) => type === "flush-failed").length).toBeLessThanOrEqual(2);
    ledger.turn("up");
    await client.config("SET", "min-replicas-to-write", "0");
    await until(async () => expect((await rows.backlog()).rows).toBe(0));
  }, 40_000);
});

/** How often Redis has refused a write for want of replicas. */
async function refusalsBy(client: { info: (section: string) => Promise<string> }): Promise<number> {
  return Number(/errorstat_NOREPLICAS:count=(\d+)/.exec(await client.info("errorstats"))?.[1] ?? 0);
}

describe("a source that is down", () => {
  it("is told of once, however many rows it has not saved", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows, events } = openQueueServer(ledger, { client });
    ledger.turn("throws");
    await Promise.all(idsOf(60).map((id) => rows.set(id, id)));
    await until(() => expect(rows.counts().failedSaves).toBeGreaterThan(30));
    expect(events).toMatchObject([{ type: "flush-failed", error: new Error("The source is down.") }]);
  });
});

describe("a batch that does not cross the network in a command's time", () => {
  it("is asked for in halves until it does", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const deadlineMs = 200;
    // 16 rows are too many: never answered.
    const slow = intercept(connect(port), async (send) => {
      const reply = await send();
      const isLarge = Array.isArray(reply) && reply.filter((each) => /^\d{16} v/.test(String(each))).length > 15;
      return isLarge ? new Promise(() => undefined) : reply;
    });
    const server = openQueueServer(ledger, { client: slow, deadlineMs, flushAfterMs: 300 });
    const [partition] = server.keys.partitions;
    const ids = idsOf(4_000)
      .filter((id) => server.keys.of(id).partition === partition)
      .slice(0, 60);
    await until(() => server.rows.set("first", 1));
    // Its scripts are known to Redis then: each is one command.
    await until(() => expect(ledger.valueOf("first")).toBe(1));
    await Promise.all(ids.map((id) => server.rows.set(id, id)));
    await until(() => expect(ids.filter((id) => ledger.valueOf(id) !== id)).toEqual([]));
    expect(Math.max(...ledger.batches.map(({ length }) => length))).toBeLessThanOrEqual(15);
  }, 40_000);
});

describe("an accepted value that has vanished from Redis", () => {
  it("is counted and told of when it is to be saved", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows, keys, events } = openQueueServer(ledger, { client, flushAfterMs: hour });
    await Promise.all(idsOf(3).map((id) => rows.set(id, id)));
    await client.del(keys.of("id-1").entry);
    expect(await rows.drain({ timeoutMs: 10_000 })).toBe(0);
    expect([...ledger.rows.keys()].sort()).toEqual(["id-0", "id-2"]);
    expect(rows.counts().lostRows).toBe(1);
    expect(events).toEqual([{ type: "rows-lost", collection: "row" }]);
  });
});

describe("an entry that is no entry", () => {
  it("is not answered by the source, which may lack what was accepted", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows, keys, events } = openQueueServer(ledger, { client, flushAfterMs: hour });
    await rows.set("a", 1);
    const { entry } = keys.of("a");
    await client.append(entry, "{");
    await expect(rows.get("a")).rejects.toMatchObject({ code: "INVALID_VALUE" });
    expect(events).toMatchObject([{ type: "corrupt" }]);
    expect(ledger.loads).toEqual([]);
  });
});

describe("a dead letter", () => {
  it("can be given up: then the source is read again, and there is room for others", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    ledger.rows.set("bad", { value: "the source's", version: 1 });
    const { rows, keys } = openQueueServer(ledger, { client, maxAttempts: 1 });
    ledger.poison.add("bad");
    await rows.set("bad", "refused");
    await until(async () => {
      await rows.set("other", performance.now());
      expect((await rows.backlog()).deadLetters).toBe(1);
    });
    expect(await rows.discardDeadLetters(["bad", "other", "nobody"])).toBe(1);
    expect(await rows.backlog()).toMatchObject({ deadLetters: 0 });
    expect(await rows.get("bad")).toBe("the source's");
    expect(await rows.get("other")).toBeTypeOf("number");
    expect(await client.exists(keys.of("bad").partition.dead)).toBe(0);
    await expect(rows.discardDeadLetters([""])).rejects.toMatchObject({ code: "INVALID_ID" });
  });

  it("that has been written again is not given up", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client, flushAfterMs: hour });
    await rows.set("a", "accepted");
    expect(await rows.discardDeadLetters(["a"])).toBe(0);
    expect(await rows.get("a")).toBe("accepted");
  });
});

describe("a server on which nobody writes", () => {
  it("asks Redis a few times a second", async () => {
    const { client } = await startQueueRedis();
    // Longer than this test: the life of a lease, and so the pause of an idle flusher.
    openQueueServer(new Ledger(), { client, saveTimeoutMs: 20_000 });
    const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    await until(async () => expect(await calls()).toBeGreaterThanOrEqual(16));
    const before = await calls();
    const since = performance.now();
    await until(() => expect(performance.now() - since).toBeGreaterThan(2_000));
    // Every 250 ms it would be 128.
    expect((await calls()) - before).toBeLessThanOrEqual(16);
  });

  it("saves what it accepts after flushAfterMs all the same, whichever server has saved before", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const servers = openQueueServers(2, ledger, { port, saveTimeoutMs: 3_000 });
    await servers[0]?.rows.set("a", "warm-up");
    await until(() => expect(ledger.valueOf("a")).toBe("warm-up"));
    for (let n = 0; n < 6; n += 1) {
      await until(async () => expect((await servers[0]?.rows.backlog())?.rows).toBe(0));
      await servers[n % 2]?.rows.set("a", n);
      const acceptedAt = performance.now();
      await until(() => expect(ledger.valueOf("a")).toBe(n));
      // Far from the 3.3 s until it would look by itself.
      expect(performance.now() - acceptedAt).toBeLessThan(1_000);
    }
  }, 30_000);

  it("saves what a server that has died before it could has accepted", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const servers = openQueueServers(2, ledger, { port, flushAfterMs: 500 });
    const [one, other] = servers as [(typeof servers)[0], (typeof servers)[0]];
    await other.rows.set("warm-up", 1);
    await until(async () => expect((await other.rows.backlog()).rows).toBe(0));
    await Promise.all(idsOf(20).map((id) => one.rows.set(id, id)));
    one.cache.close();
    await until(() => expect(ledger.rows.size).toBe(21));
  });
});
