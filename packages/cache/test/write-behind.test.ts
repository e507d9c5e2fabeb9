import { describe, expect, expectTypeOf, it } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { connect } from "../../redis-kit/test/harness/redis.ts";
import type { Collection, WriteBehindCollection, WriteBehindOptions } from "../src/index.ts";
import { Ledger } from "./harness/ledger.ts";
import { testClient, uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { openQueueServer, openQueueServers, startQueueRedis, untilAppending } from "./harness/write-behind.ts";

const hour = 3_600_000;

describe("a value that is set", () => {
  it("is read by all servers at once, and saved a little later", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger();
    const [one, other] = openQueueServers(2, ledger, { port });
    await one?.rows.set("a", { n: 1 });
    expect(await other?.rows.lookup("a")).toEqual({ value: { n: 1 }, from: "shared" });
    expect(Object.isFrozen(await other?.rows.get("a"))).toBe(true);
    await until(() => expect(ledger.valueOf("a")).toEqual({ n: 1 }));
    await until(async () => expect((await one?.rows.backlog())?.rows).toBe(0));
    expect(ledger.loads).toEqual([]);
  });

  it("of the kinds that look like nothing is a value", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client });
    const values = [0, "", false, null, [], {}, { a: [] }];
    await Promise.all(values.map((value, index) => rows.set(`${index}`, value)));
    expect(await rows.getMany(values.map((_, index) => `${index}`))).toEqual(values);
    await until(() => expect(values.map((_, index) => ledger.valueOf(`${index}`))).toEqual(values));
  });

  it("may be none: then it is read as missing, and its saver is told so", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    ledger.rows.set("a", { value: "old", version: 1 });
    const { rows } = openQueueServer(ledger, { client });
    expect(await rows.get("a")).toBe("old");
    await rows.set("a", undefined);
    expect(await rows.lookup("a")).toEqual({ value: undefined, from: "shared" });
    await until(() => expect(ledger.rows.get("a")).toMatchObject({ value: undefined }));
  });

  it("has an id of any text, in its partition's slot", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client });
    const ids = ["{", "}", "%7b", "a:pending", "queue", "*", "ä\u0000😀", "\ud800", "\ufffd", "a b\r\n"];
    await Promise.all(ids.map((id) => rows.set(id, `value of ${id}`)));
    await until(() => expect([...ledger.rows.keys()].sort()).toEqual([...ids].sort()));
  });

  it("has no expiry until it is saved, and one afterwards", async () => {
    const { client } = await startQueueRedis();
    const { rows, keys } = openQueueServer(new Ledger(), { client, flushAfterMs: hour, ttlMs: 50_000 });
    await rows.set("a", 1);
    await rows.set("gone", undefined);
    expect(await client.pttl(keys.of("a").entry)).toBe(-1);
    expect(await rows.drain({ timeoutMs: 5_000 })).toBe(0);
    expect(await client.pttl(keys.of("a").entry)).toBeGreaterThan(10_000);
    expect(await client.pttl(keys.of("gone").entry)).toBeLessThanOrEqual(10_000);
  });

  it("that can't be carried, or is too large, is refused", async () => {
    const { client } = await startQueueRedis();
    const { rows } = openQueueServer(new Ledger(), { client, maxBytes: 10 });
    await expect(rows.set("a", 1n)).rejects.toMatchObject({ code: "INVALID_VALUE" });
    await expect(rows.set("a", "more than ten bytes")).rejects.toMatchObject({ code: "INVALID_VALUE" });
    await expect(rows.set(7 as never, 1)).rejects.toMatchObject({ code: "INVALID_ID" });
    await expect(rows.set("", 1)).rejects.toMatchObject({ code: "INVALID_ID" });
    expect(await rows.backlog()).toEqual({ rows: 0, oldestMs: 0, deadLetters: 0 });
  });
});

describe("writes of one id", () => {
  it("are saved as one, the newest, with versions that grow", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger();
    const { rows } = openQueueServer(ledger, { client, flushAfterMs: 300 });
    for (let n = 1; n <= 20; n += 1) await rows.set("a", n);
    await until(() => expect(ledger.valueOf("a")).toBe(20));
    const first = ledger.rows.get("a")?.version ?? 0;
    expect(ledger.batches.length).toBeLessThan(20);
    expect(rows.counts()).toMatchObject({ accepted: 20, saves: ledger.batches.length });
    await rows.set("a", 21);
    await until(() => expect(ledger.valueOf("a")).toBe(21));
    expect(ledger.rows.get("a")?.version).toBeGreaterThan(first);
    expect(Number.isSafeInteger(first)).toBe(true);
  });

  it("have growing versions though the entry has come and gone, and the clock is set back", async () => {
    const { client } = await startQueueRedis();
    const { rows, keys } = openQueueServer(new Ledger(), { client, flushAfterMs: hour });
    await rows.set("a", 1);
    const { partition, entry } = keys.of("a");
    const future = `${Date.now() * 1_000 + 10 ** 12}`;
    await client.set(partition.clock, future);
    await client.del(entry);
    await rows.set("a", 2);
    expect(await client.get(partition.clock)).toBe(`${Number(future) + 1}`);
  });
});

describe("an increment", () => {
  it("counts exactly, from several servers at once, from what the source has", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger<number>();
    ledger.rows.set("a", { value: 1_000, version: 1 });
    const servers = openQueueServers(3, ledger, { port });
    const all = servers.flatMap(({ rows }) => Array.from({ length: 50 }, () => rows.increment("a", 2)));
    const results = await Promise.all(all);
    expect(results.sort((a, b) => a - b)).toEqual(results.map((_, index) => 1_002 + index * 2));
    expect(await servers[0]?.rows.get("a")).toBe(1_300);
    await until(() => expect(ledger.valueOf("a")).toBe(1_300));
    expect(ledger.loads).toEqual(["a"]);
  });

  it("counts from 0 where there is no value, and takes away", async () => {
    const { client } = await startQueueRedis();
    const { rows } = openQueueServer(new Ledger<number>(), { client });
    expect(await rows.increment("new")).toBe(1);
    expect(await rows.increment("new", -5)).toBe(-4);
    await rows.set("new", undefined);
    expect(await rows.increment("new", 3)).toBe(3);
  });

  it("is refused where it would not be exact", async () => {
    const { client } = await startQueueRedis();
    const { rows } = openQueueServer(new Ledger<number>(), { client });
    const invalid = { code: "INVALID_VALUE" };
    await rows.set("text", "1" as never);
    await rows.set("half", 0.5);
    await rows.set("large", Number.MAX_SAFE_INTEGER);
    for (const id of ["text", "half", "large"]) await expect(rows.increment(id)).rejects.toMatchObject(invalid);
    for (const by of [0.5, NaN, 2 ** 53]) await expect(rows.increment("a", by)).rejects.toMatchObject(invalid);
    expect(await rows.getMany(["text", "half", "large"])).toEqual(["1", 0.5, Number.MAX_SAFE_INTEGER]);
    expect(await rows.increment("large", -1)).toBe(Number.MAX_SAFE_INTEGER - 1);
  });

  it("fails while the source is down if its number must be loaded, and else is accepted", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const { rows } = openQueueServer(ledger, { client, flushAfterMs: hour });
    await rows.set("here", 1);
    ledger.turn("throws");
    await expect(rows.increment("absent")).rejects.toThrow("The source is down.");
    expect(await rows.increment("here")).toBe(2);
    ledger.turn("up");
    expect(await rows.increment("absent")).toBe(1);
  });
});

describe("C5: a slow load", () => {
  it.each([60_000, 1])("is not stored over a value that was set meanwhile, and lives for %d ms", async (ttlMs) => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger<string>();
    const name = uniqueName();
    const barrier = new Barrier();
    ledger.rows.set("a", { value: "old", version: 1 });
    const slowLoad = async (id: string) => {
      const value = await ledger.load(id);
      await barrier.pass(id);
      return value;
    };
    const slow = openQueueServer(ledger, { client: connect(port), name, ttlMs, load: slowLoad });
    const other = openQueueServer(ledger, { client: connect(port), name, ttlMs });
    const early = slow.rows.get("a");
    await barrier.arrivals(1);
    await other.rows.set("a", "new");
    expect(await other.rows.get("a")).toBe("new");
    await until(() => expect(ledger.valueOf("a")).toBe("new"));
    // Whether its entry is still there, or has come and gone.
    if (ttlMs === 1) await until(async () => expect((await other.rows.lookup("a")).from).toBe("source"));
    barrier.release();
    expect(await early).toBe("old"); // it came before
    await until(() => expect(slow.rows.counts()).toMatchObject({ refusedFills: 1, fills: 0 }));
    expect(await other.rows.get("a")).toBe("new");
    expect(await slow.rows.get("a")).toBe("new");
  });
});

describe("a Redis that could lose what it alone has", () => {
  it.each([
    ["maxmemory-policy", "volatile-lru", "noeviction"],
    ["appendonly", "no", "yes"],
  ])("is refused, with nothing stored: %s %s", async (setting, unsafe, safe) => {
    const { client } = await startQueueRedis();
    await client.config("SET", setting, unsafe);
    const server = openQueueServer(new Ledger<number>(), { client });
    const error = { code: "UNSAFE_REDIS" };
    await expect(server.rows.set("a", 1)).rejects.toMatchObject(error);
    await expect(server.rows.increment("a")).rejects.toMatchObject(error);
    await expect(server.rows.get("a")).rejects.toMatchObject(error);
    await client.del(server.keys.of("a").entry); // a fill token
    expect(await client.keys("*")).toEqual([]);
    expect(server.rows.counts()).toMatchObject({ accepted: 0, refusedWrites: 2 });
    expect(server.events).toMatchObject([{ type: "unsafe-redis", error }]);
    await expect(server.cache.ready()).rejects.toMatchObject(error);

    await client.config("SET", setting, safe);
    const later = openQueueServer(new Ledger<number>(), { client });
    await later.rows.set("a", 1);
    expect(await later.rows.get("a")).toBe(1);
    await untilAppending(client);
  });

  it("is the one of a mere cache too", async () => {
    const { rows } = openQueueServer(new Ledger(), { client: testClient() });
    await expect(rows.set("a", 1)).rejects.toMatchObject({ code: "UNSAFE_REDIS" });
  });
});

describe("options", () => {
  it.each<[string, Partial<WriteBehindOptions<unknown>>]>([
    ["save must be a function", { save: undefined as never }],
    ["load or loadMany is required", { load: undefined }],
    ["ttlMs must be", { ttlMs: 0 }],
    ["flushAfterMs must be", { flushAfterMs: -1 }],
    ["maxBatch must be", { maxBatch: 0 }],
    ["maxBatch must be at most 1000", { maxBatch: 1_001 }],
    ["saveTimeoutMs must be", { saveTimeoutMs: NaN }],
    ["maxAttempts must be", { maxAttempts: 1.5 }],
    ["maxBacklog must be", { maxBacklog: 0 }],
  ])("that can't be meant are a mistake at the opening: %s", (message, options) => {
    const open = () => openQueueServer(new Ledger(), { client: testClient(), ...options });
    expect(open).toThrow(TypeError);
    expect(open).toThrow(message);
  });

  it("give a collection of their kind, and only one of numbers can be incremented", () => {
    const { cache } = openQueueServer(new Ledger(), { client: connect(1) });
    const reads = { load: () => Promise.resolve(undefined), ttlMs: 1 };
    const behind = { ...reads, writePolicy: "write-behind", save: () => Promise.resolve() } as const;
    const texts = cache.collection<string>("texts", behind);
    expectTypeOf(texts).toEqualTypeOf<WriteBehindCollection<string>>();
    expectTypeOf(cache.collection<number>("plain", reads)).toEqualTypeOf<Collection<number>>();
    const numbers = cache.collection<number>("numbers", behind);
    const use = () => {
      // @ts-expect-error a text can't be incremented
      void texts.increment("a");
      void numbers.increment("a");
    };
    expect(use).toBeTypeOf("function");
    expectTypeOf(texts).not.toHaveProperty("update");
    expect(cache.collections().map(({ type }) => type)).toEqual(["row", "texts", "plain", "numbers"]);
  });
});
