import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { extensionAt, lifeOf } from "../src/freshness.ts";
import { uniqueName } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** Reads a value, waits until it is stored, and then until its life is over. */
async function readAndExpire({ things, client, keysOf }: Server, id: string, extraMs: number): Promise<void> {
  const { fills } = things.counts();
  await things.get(id);
  await until(() => expect(things.counts().fills).toBe(fills + 1));
  await until(async () => expect(await client.pttl(keysOf(id).entry)).toBeLessThanOrEqual(extraMs));
}

/** A loader that asks the source, and then fails while it is out of order. */
function breakable(source: Source) {
  const order = { isBroken: false };
  const load: typeof source.load = async (...args) => {
    const value = await source.load(...args);
    if (order.isBroken) throw new Error("out of order");
    return value;
  };
  return { load, order };
}

describe("the life of an entry", () => {
  it("is shortened by at most the jitter, and is at least 1 ms", () => {
    const whole = fc.integer({ min: 1, max: 2 ** 31 - 1 });
    const part = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(whole, part, part, (ttlMs, jitter, random) => {
        const life = lifeOf(ttlMs, jitter, random);
        expect(life).toBeLessThanOrEqual(ttlMs);
        expect(life).toBeGreaterThanOrEqual(Math.max(1, Math.floor(ttlMs * (1 - jitter))));
      }),
    );
  });

  it("differs from that of others that were loaded in the same moment, also after an update", async () => {
    const ids = Array.from({ length: 50 }, (_, index) => `id-${index}`);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, 1])));
    const server = await openWarmServer(source, { ttlMs: 600_000, jitter: 0.5 });
    const lives = () => Promise.all(ids.map((id) => server.client.pttl(server.keysOf(id).entry)));
    await server.things.getMany(ids);
    await until(() => expect(server.things.counts().fills).toBe(ids.length));
    const spread = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
    expect(spread(await lives())).toBeGreaterThan(60_000);
    expect(Math.min(...(await lives()))).toBeGreaterThan(290_000);
    await Promise.all(ids.map((id) => server.things.update(id, source.write(id, 2))));
    expect(spread(await lives())).toBeGreaterThan(60_000);
  });

  it("is what was asked for where the jitter is 0", async () => {
    const server = await openWarmServer(new Source({ a: 1 }), { ttlMs: 600_000, jitter: 0 });
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    expect(await server.client.pttl(server.keysOf("a").entry)).toBeGreaterThan(590_000);
  });

  it("is over for good when its extensions are", () => {
    const extension = { staleMs: 10, graceMs: 20 };
    expect(extensionAt(9, extension)).toEqual({ mayBeStale: true, mayBeGrace: true });
    expect(extensionAt(10, extension)).toEqual({ mayBeStale: false, mayBeGrace: true });
    expect(extensionAt(20, extension)).toEqual({ mayBeStale: false, mayBeGrace: false });
  });
});

describe("a value whose life is over", () => {
  const stale = { ttlMs: 50, staleMs: 60_000 };
  const grace = { ttlMs: 50, graceMs: 60_000 };

  it("is served while one of all servers refreshes it (staleMs)", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { ...stale, ttlMs: 200 });
    await readAndExpire(one, "a", stale.staleMs);
    source.rows.set("a", "new");
    const barrier = source.hold();
    const old = { value: "old", from: "shared", expired: "stale" };
    expect(await one.things.lookup("a")).toEqual(old);
    await barrier.arrivals(1);
    expect(await Promise.all([one.things.lookup("a"), other.things.lookup("a")])).toEqual([old, old]);
    source.holdNoMore();
    barrier.release();
    await until(() => expect(one.things.counts().fills).toBe(2));
    expect(await other.things.lookup("a")).toEqual({ value: "new", from: "shared" });
    expect(source.loads).toHaveLength(2);
    expect([one.things.counts().staleServed, other.things.counts().staleServed]).toEqual([2, 1]);
  });

  it("is refreshed by the next when the server that does so has died", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { ...stale, loadTimeoutMs: 100 });
    await readAndExpire(one, "a", stale.staleMs);
    source.hold(); // for ever
    await one.things.get("a");
    source.holdNoMore();
    source.rows.set("a", "new");
    await until(async () => expect(await other.things.get("a")).toBe("new"));
    expect(source.loads).toHaveLength(3);
  });

  it("is never served once an update or an invalidation has returned, and its refresh stores nothing", async () => {
    const source = new Source({ a: "old", b: "old" });
    const [one, other] = await openTwoServers(source, stale);
    for (const id of ["a", "b"]) await readAndExpire(one, id, stale.staleMs);
    const barrier = source.hold();
    await one.things.getMany(["a", "b"]);
    await barrier.arrivals(2);
    source.holdNoMore();
    await other.things.update("a", source.write("a", "new"));
    source.rows.set("b", "new");
    await other.things.invalidate("b");
    expect(await one.things.getMany(["a", "b"])).toEqual(["new", "new"]);
    barrier.release();
    await until(() => expect(one.things.counts().refusedFills).toBe(2));
    expect(await other.things.getMany(["a", "b"])).toEqual(["new", "new"]);
  });

  it("is waited for where only grace is allowed, and served if the source fails, to those who waited too", async () => {
    const source = new Source({ a: "old" });
    const { load, order } = breakable(source);
    const [one, other] = await openTwoServers(source, { ...grace, load });
    await readAndExpire(one, "a", grace.graceMs);
    order.isBroken = true;
    const barrier = source.hold();
    const first = one.things.lookup("a");
    await barrier.arrivals(1);
    const waiting = other.things.lookup("a");
    await until(() => expect(other.things.counts().waited).toBe(1));
    source.holdNoMore();
    barrier.release();
    const old = { value: "old", from: "shared", expired: "grace" };
    expect(await Promise.all([first, waiting])).toEqual([old, old]);
    // For a while nobody asks a source that has just failed.
    const { length } = source.loads;
    expect(await other.things.lookup("a")).toEqual(old);
    expect(source.loads).toHaveLength(length);
    expect(one.events).toEqual([{ type: "refresh-failed", collection: "thing", error: new Error("out of order") }]);
    expect([one.things.counts().graceServed, other.things.counts().graceServed]).toEqual([1, 2]);
    order.isBroken = false;
    source.rows.set("a", "new");
    await until(async () => expect(await other.things.get("a")).toBe("new"));
  });

  it("is not served by grace to who has come after a write, nor to who has looked again since", async () => {
    const source = new Source({ a: "old" });
    const { load, order } = breakable(source);
    const options = { ...grace, load, name: uniqueName() };
    const [one, other, third] = [
      await openWarmServer(source, options),
      openServer(source, options),
      openServer(source, options),
    ];
    await readAndExpire(one, "a", grace.graceMs);
    const barrier = source.hold();
    const refreshing = other.things.get("a");
    await barrier.arrivals(1);
    const early = one.things.get("a");
    await until(() => expect(one.things.counts().waited).toBe(1));
    source.rows.set("a", "new");
    await third.things.invalidate("a");
    const loading = third.things.get("a");
    await barrier.arrivals(2);
    const late = one.things.get("a");
    await until(() => {
      const { waited, coalesced } = one.things.counts();
      expect(waited + coalesced).toBe(2);
    });
    order.isBroken = true;
    source.holdNoMore();
    barrier.release();
    const failed = { status: "rejected", reason: new Error("out of order") };
    expect(await Promise.allSettled([early, late, loading])).toEqual([failed, failed, failed]);
    expect(await refreshing).toBe("old"); // its own look came before the write
  });

  it("is served by grace to who would otherwise wait for a source that hangs, within the load's time", async () => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, { ...grace, loadTimeoutMs: 100 });
    await readAndExpire(server, "a", grace.graceMs);
    source.hold(); // for ever
    expect(await server.things.lookup("a")).toEqual({ value: "old", from: "shared", expired: "grace" });
    expect(server.events).toMatchObject([{ type: "refresh-failed", error: { code: "LOAD_TIMEOUT" } }]);
  });

  it("is served stale at first, and by grace after that, when the source goes on failing", async () => {
    const source = new Source({ a: "old" });
    const load = () => (source.loads.length === 0 ? source.load("a", { signal }) : Promise.reject(new Error("gone")));
    const { signal } = new AbortController();
    const server = await openWarmServer(source, { ttlMs: 50, staleMs: 300, graceMs: 60_000, load });
    await readAndExpire(server, "a", grace.graceMs);
    expect(await server.things.lookup("a")).toMatchObject({ value: "old", expired: "stale" });
    await until(async () => expect(await server.things.lookup("a")).toMatchObject({ value: "old", expired: "grace" }));
    expect(server.things.counts()).toMatchObject({ hits: 0, loads: 1 });
  });

  it("is not served where neither is asked for", async () => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, { ttlMs: 50 });
    await readAndExpire(server, "a", 0);
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
  });

  it("goes when its new value is too large to keep", async () => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, { ...stale, maxBytes: 10 });
    await readAndExpire(server, "a", stale.staleMs);
    source.rows.set("a", "newer than ten bytes");
    expect(await server.things.get("a")).toBe("old");
    await until(async () => expect(await server.client.exists(server.keysOf("a").entry)).toBe(0));
    expect(await server.things.get("a")).toBe("newer than ten bytes");
  });

  it('may be that there is none: "the source has no such value" is refreshed as well', async () => {
    const source = new Source();
    const server = await openWarmServer(source, { ...stale, missingMs: 50 });
    await readAndExpire(server, "a", stale.staleMs);
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toEqual({ value: undefined, from: "shared", expired: "stale" });
    await until(async () => expect(await server.things.get("a")).toBe("new"));
  });

  it("keeps one refresher at a time when the same read arrives twice", async () => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, stale);
    await readAndExpire(server, "a", stale.staleMs);
    const evalsha = server.client.evalsha.bind(server.client) as (...args: unknown[]) => Promise<unknown>;
    server.client.evalsha = async (...args: unknown[]) => {
      const first = await evalsha(...args); // its answer is lost, and the client sends it again
      return JSON.stringify(first).includes("refresh") ? evalsha(...args) : first;
    };
    source.rows.set("a", "new");
    expect(await server.things.lookup("a")).toMatchObject({ value: "old", expired: "stale" });
    await until(async () => expect(await server.things.get("a")).toBe("new"));
    expect(source.loads).toHaveLength(2);
  });
});

describe("a revision", () => {
  it("makes entries of another read as missing, on servers of both", async () => {
    const source = new Source({ a: { name: "Ada" } });
    const name = uniqueName();
    const old = await openWarmServer(source, { name, revision: 1 });
    const next = await openWarmServer(source, { name, revision: 2 });
    await old.things.get("a");
    await until(() => expect(old.things.counts().fills).toBe(1));
    expect((await next.things.lookup("a")).from).toBe("source");
    await until(() => expect(next.things.counts().fills).toBe(1));
    expect((await next.things.lookup("a")).from).toBe("shared");
    expect((await old.things.lookup("a")).from).toBe("source");
  });

  it("is no wall: an update by a server of one is seen by those of the other, and voids their loads", async () => {
    const source = new Source({ a: "old", b: "old" });
    const name = uniqueName();
    const old = await openWarmServer(source, { name, revision: 1, staleMs: 60_000 });
    const next = await openWarmServer(source, { name, revision: 2, staleMs: 60_000 });
    const barrier = source.hold();
    const reading = old.things.getMany(["a", "b"]);
    await barrier.arrivals(2);
    source.holdNoMore();
    await next.things.update("a", source.write("a", "new"));
    source.rows.set("b", "new");
    await next.things.invalidate("b");
    barrier.release();
    await reading;
    await until(() => expect(old.things.counts().refusedFills).toBe(2));
    for (const { things } of [old, next]) expect(await things.getMany(["a", "b"])).toEqual(["new", "new"]);
  });

  it("must be a whole number above 0", async () => {
    const { cache } = await openWarmServer(new Source());
    const open = (revision: number) => () =>
      cache.collection("other", { load: () => Promise.resolve(1), ttlMs: 1, revision });
    for (const revision of [0, -1, 1.5, NaN]) expect(open(revision)).toThrow(TypeError);
  });
});
