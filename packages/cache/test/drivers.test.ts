import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Shared, openDriver, openOn, openPair, rulesWith, setups } from "./harness/drivers.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const nastyIds = [
  "{",
  "}",
  "{}",
  "%7b",
  "a:pending",
  "*",
  "#",
  "%23",
  "ä\u0000😀",
  "\ud800",
  "\ufffd",
  "a b\r\n",
  "\u007f",
];
const longIds = ["x".repeat(512), `${"x".repeat(511)}y`, "ü".repeat(512), `${"ü".repeat(511)}x`];

describe.each(setups)("a cache on $name", ({ start }) => {
  let shared: Shared;
  beforeAll(async () => {
    shared = await start();
  });
  afterAll(() => shared.stop());

  it("serves to all servers what one has loaded, and that there is none", async () => {
    const source = new Source({ a: { b: 0 } });
    const [one, other] = openPair(shared, source);
    expect(await one.things.getMany(["a", "none"])).toEqual([{ b: 0 }, undefined]);
    await until(() => expect(one.things.counts().fills).toBe(2));
    expect(await other.things.lookupMany(["a", "none"])).toEqual([
      { value: { b: 0 }, from: "shared" },
      { value: undefined, from: "shared" },
    ]);
    expect(source.loads.flat().sort()).toEqual(["a", "none"]);
  });

  it("loads once for all who ask on two servers at the same time", async () => {
    const source = new Source({ a: 1 });
    const barrier = source.hold();
    const servers = openPair(shared, source);
    const reads = servers.flatMap(({ things }) => Array.from({ length: 20 }, () => things.get("a")));
    await barrier.arrivals(1);
    await until(() => {
      const waited = servers.reduce((sum, { things }) => sum + things.counts().waited, 0);
      expect(waited).toBe(1);
    });
    barrier.release();
    expect(await Promise.all(reads)).toEqual(Array(40).fill(1));
    expect(source.loads).toEqual([["a"]]);
  });

  it("F3: when the loading server dies another loads, and when a load fails at once", async () => {
    const source = new Source({ a: 1 });
    const [one, other] = openPair(shared, source, { loadTimeoutMs: 300 });
    const driver = openDriver(shared.connect(), one.cache.name);
    const [dead] = driver.read([{ keys: one.keysOf("a") }], rulesWith({ tokenLifeMs: 850 }));
    expect(await dead?.replies).toMatchObject([{ outcome: "fill" }]);
    expect(await other.things.lookup("a")).toEqual({ value: 1, from: "source" });
    expect(other.things.counts()).toMatchObject({ waited: 1, misses: 1, uncached: 0 });

    const failing = openOn(shared.connect(), source, {
      name: one.cache.name,
      load: () => Promise.reject(new Error("the source is gone")),
    });
    await expect(failing.things.get("b")).rejects.toThrow("the source is gone");
    expect(await other.things.get("b")).toBeUndefined();
  });

  it.each(["update", "invalidate"] as const)(
    "a slow reader does not store what it has read before an %s on another server",
    async (change) => {
      const source = new Source({ a: "old" });
      const barrier = source.hold();
      const [slow, other] = openPair(shared, source);
      const read = slow.things.get("a");
      await barrier.arrivals(1);
      source.holdNoMore();
      if (change === "update") await other.things.update("a", source.write("a", "new"));
      else {
        source.rows.set("a", "new");
        await other.things.invalidate("a");
      }
      barrier.release();
      expect(await read).toBe("old");
      await until(() => expect(slow.things.counts().refusedFills).toBe(1));
      expect(await slow.things.get("a")).toBe("new");
      expect(await other.things.get("a")).toBe("new");
    },
  );

  it.each([
    ["write-through", "shared"],
    ["cache-aside", "source"],
  ] as const)("after a %s update the value comes from: %s", async (writePolicy, from) => {
    const source = new Source({ a: "old" });
    const [one, other] = openPair(shared, source, { writePolicy });
    await other.things.get("a");
    await one.things.update("a", source.write("a", "new"));
    expect(await other.things.lookup("a")).toEqual({ value: "new", from });
  });

  it("updates that overlap store nothing, and all who write one id at the same time are served", async () => {
    const source = new Source();
    const servers = openPair(shared, source);
    const writes = Array.from({ length: 150 }, (_, index) => servers[index % 2 ? 1 : 0].things);
    await Promise.all(writes.map((things, index) => things.update("a", source.write("a", index))));
    const last = source.rows.get("a");
    for (const { things } of servers) expect(await things.get("a")).toBe(last);
    for (const { events } of servers) expect(events).toEqual([]);
    await until(async () => expect((await servers[0].things.lookup("a")).from).toBe("shared"));
  });

  it("a writer that dies after its write leaves nothing old, and is over after pendingMs", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = openPair(shared, source);
    await other.things.get("a");
    const driver = openDriver(shared.connect(), one.cache.name);
    await driver.begin(one.keysOf("a"), rulesWith());
    source.rows.set("a", "new");
    expect(await other.things.lookup("a")).toEqual({ value: "new", from: "source" });
    expect(other.things.counts()).toMatchObject({ uncached: 1 });
    await until(async () => expect((await other.things.lookup("a")).from).toBe("shared"));
    expect(await one.things.get("a")).toBe("new");
  });

  it("serves an old value while one server refreshes it", async () => {
    const source = new Source({ a: 1 });
    const [one, other] = openPair(shared, source, { ttlMs: 1, jitter: 0, staleMs: 30_000, graceMs: 60_000 });
    await one.things.get("a");
    await until(() => expect(one.things.counts().fills).toBe(1));
    source.rows.set("a", 2);
    const barrier = source.hold();
    await until(async () => expect(await other.things.lookup("a")).toMatchObject({ expired: "stale", value: 1 }));
    await barrier.arrivals(1);
    expect(await one.things.lookup("a")).toEqual({ value: 1, from: "shared", expired: "stale" });
    expect(source.loads).toHaveLength(2);
    source.holdNoMore();
    barrier.release();
    await until(async () => expect(await one.things.get("a")).toBe(2));
  });

  it("an old value is served when the source fails", async () => {
    const source = new Source({ a: 1 });
    const options = { ttlMs: 1, jitter: 0, graceMs: 60_000 };
    const [one] = openPair(shared, source, options);
    await one.things.get("a");
    await until(() => expect(one.things.counts().fills).toBe(1));
    const failing = openOn(shared.connect(), source, {
      ...options,
      name: one.cache.name,
      load: () => Promise.reject(new Error("the source is gone")),
    });
    expect(await failing.things.lookup("a")).toEqual({ value: 1, from: "shared", expired: "grace" });
    expect(await failing.things.lookup("a")).toEqual({ value: 1, from: "shared", expired: "grace" });
    expect(failing.things.counts()).toMatchObject({ failedLoads: 1, graceServed: 2 });
  });

  it("another revision misses, and an update under one is not missed under the other", async () => {
    const source = new Source({ a: "old" });
    const [one] = openPair(shared, source);
    const next = openOn(shared.connect(), source, { name: one.cache.name, revision: 2 });
    await one.things.get("a");
    await until(() => expect(one.things.counts().fills).toBe(1));
    expect((await next.things.lookup("a")).from).toBe("source");
    await until(() => expect(next.things.counts().fills).toBe(1));
    await one.things.update("a", source.write("a", "new"));
    expect(await next.things.get("a")).toBe("new");
  });

  it("serves values that are larger than maxBytes, and keeps none", async () => {
    const source = new Source({ a: "x".repeat(100) });
    const [one] = openPair(shared, source, { maxBytes: 50 });
    for (let n = 0; n < 2; n += 1) expect((await one.things.lookup("a")).from).toBe("source");
    await one.things.update("a", source.write("a", "y".repeat(100)));
    expect(await one.things.lookup("a")).toEqual({ value: "y".repeat(100), from: "source" });
    expect(one.things.counts()).toMatchObject({ tooLarge: 3, uncached: 1 });
  });

  it("reads and invalidates many ids at once", async () => {
    const ids = Array.from({ length: 700 }, (_, index) => `${index}`);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, `value of ${id}`])));
    const [one, other] = openPair(shared, source, { loadMany: source.loadMany });
    expect(await one.things.getMany(ids)).toEqual(ids.map((id) => `value of ${id}`));
    await until(() => expect(one.things.counts().fills).toBe(700));
    expect(await other.things.getMany(ids)).toEqual(ids.map((id) => `value of ${id}`));
    expect(other.things.counts()).toMatchObject({ hits: 700, loads: 0 });
    await other.things.invalidateMany(ids);
    await one.things.getMany(ids);
    expect(one.things.counts().loads).toBe(1_400);
  });

  it("no id names another's entry, however strange or long", async () => {
    const ids = [...nastyIds, ...longIds];
    const source = new Source();
    const [one, other] = openPair(shared, source);
    await Promise.all(ids.map((id, index) => one.things.update(id, source.write(id, index))));
    expect(await other.things.getMany(ids)).toEqual(ids.map((_, index) => index));
    expect(other.things.counts()).toMatchObject({ hits: ids.length, loads: 0 });
  });
});

describe.each(setups.filter(({ name }) => name !== "memory"))("while $name is gone", ({ start }) => {
  let shared: Shared;
  beforeAll(async () => {
    shared = await start();
  });
  afterAll(() => shared.stop());

  it.each(["refuse", "hold", "reset"] as const)(
    "reads are answered by the source in bounded time, updates are refused, and all is well afterwards (%s)",
    async (fault) => {
      const source = new Source({ a: "old", b: "old" });
      const breakable = await shared.connectBreakable?.();
      if (breakable === undefined) throw new Error("It can't be broken.");
      const server = openOn(breakable.tier, source, { deadlineMs: 200 });
      const other = openOn(shared.connect(), source, { name: server.cache.name });
      await until(() => server.cache.ready());
      await until(async () => expect((await server.things.lookup("a")).from).toBe("shared"));

      await breakable.set(fault);
      const startedAt = performance.now();
      expect(await server.things.getMany(["a", "b"])).toEqual(["old", "old"]);
      expect(performance.now() - startedAt).toBeLessThan(700);
      await expect(server.things.update("a", source.write("a", "never"))).rejects.toMatchObject({
        code: "UNAVAILABLE",
      });
      await expect(server.things.invalidate("a")).rejects.toMatchObject({ code: "UNAVAILABLE" });
      expect(source.rows.get("a")).toBe("old");
      await other.things.update("a", source.write("a", "new"));
      expect(await server.things.get("a")).toBe("new");

      await breakable.set("pass");
      await until(async () => {
        const { value, from } = await server.things.lookup("a");
        expect(value).toBe("new");
        expect(from).toBe("shared");
      });
    },
  );
});
