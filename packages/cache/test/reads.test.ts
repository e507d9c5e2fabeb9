import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { CollectionOptions } from "../src/index.ts";
import { countInFlight, testClient } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** What was loaded is stored behind the reader's back. */
async function untilFilled({ things }: Server, fills: number): Promise<void> {
  await until(() => expect(things.counts().fills).toBe(fills));
}

describe("a read", () => {
  it("is answered by the source once, and by Redis from then on, on each server", async () => {
    const source = new Source({ a: { name: "Ada" } });
    const [one, other] = await openTwoServers(source);
    expect(await one.things.lookup("a")).toEqual({ value: { name: "Ada" }, from: "source" });
    await untilFilled(one, 1);
    expect(await one.things.lookup("a")).toEqual({ value: { name: "Ada" }, from: "shared" });
    expect(await other.things.lookup("a")).toEqual({ value: { name: "Ada" }, from: "shared" });
    expect(source.loads).toHaveLength(1);
    expect(one.things.counts()).toMatchObject({ hits: 1, misses: 1, loads: 1, fills: 1, missingHits: 0 });
    expect(one.things.latency()).toMatchObject({ shared: { count: 2 }, source: { count: 1 } });
  });

  it("of very many ids leaves so many at a time: all at once would be answered too late", async () => {
    const { client, most } = countInFlight(testClient());
    const ids = Array.from({ length: 5_000 }, (_, index) => `${index}`);
    const loadMany = (some: readonly string[]) => Promise.resolve(new Map(some.map((id) => [id, id])));
    // Too young a Redis for fills: nothing else is sent.
    const { things } = openServer(new Source(), { client, loadMany, maxSourceQueue: 5_000, pendingMs: 3_600_000 });
    expect(await things.getMany(ids)).toEqual(ids);
    expect(most()).toBe(4);
    expect(things.counts()).toMatchObject({ uncached: 5_000, unavailable: 0 });
  });

  it("keeps for a while that the source has no such value, and knows that from null, 0, an empty text and false", async () => {
    const values = { null: null, zero: 0, empty: "", false: false };
    const source = new Source(values);
    const server = await openWarmServer(source, { missingMs: 5_000 });
    const ids = [...Object.keys(values), "none"];
    const expected = [null, 0, "", false, undefined];
    expect(await server.things.getMany(ids)).toEqual(expected);
    await untilFilled(server, 5);
    expect(await server.things.getMany(ids)).toEqual(expected);
    expect(source.loads).toHaveLength(5);
    expect(server.things.counts()).toMatchObject({ hits: 5, missingHits: 1 });
    const lives = await Promise.all(ids.map((id) => server.client.pttl(server.keysOf(id).entry)));
    expect(Math.min(...lives.slice(0, 4))).toBeGreaterThan(50_000);
    expect(lives[4]).toBeLessThanOrEqual(5_000);
  });

  it("loads again when the entry's life is over", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source, { ttlMs: 20 });
    await server.things.get("a");
    await untilFilled(server, 1);
    await until(async () => expect(await server.client.exists(server.keysOf("a").entry)).toBe(0));
    source.rows.set("a", 2);
    expect(await server.things.lookup("a")).toEqual({ value: 2, from: "source" });
  });

  it("gives what JSON makes of a value, deeply frozen, whichever tier answers", async () => {
    const source = new Source({ a: { at: new Date(0), list: [{ n: NaN }], absent: undefined } });
    const server = await openWarmServer(source);
    const expected = { at: "1970-01-01T00:00:00.000Z", list: [{ n: null }] };
    for (const from of ["source", "shared"]) {
      const { value, ...told } = await server.things.lookup("a");
      expect(told).toEqual({ from });
      expect(value).toStrictEqual(expected);
      expect(() => Object.assign((value as typeof expected).list[0] ?? {}, { n: 1 })).toThrow(TypeError);
      await untilFilled(server, 1);
    }
  });

  it("fails if JSON can't carry the value, and others may try at once", async () => {
    const source = new Source({ a: 10n });
    const [one, other] = await openTwoServers(source);
    await expect(one.things.get("a")).rejects.toMatchObject({ code: "INVALID_VALUE" });
    source.rows.set("a", 10);
    expect(await other.things.get("a")).toBe(10);
    expect(other.things.counts().waited).toBe(0);
  });

  it("serves what is too large, does not keep it, and has nobody wait for it", async () => {
    const source = new Source({ fits: "ää", large: "äää" });
    const server = await openWarmServer(source, { maxBytes: 6 }); // the quotes, and two bytes each
    expect(await server.things.getMany(["fits", "large"])).toEqual(["ää", "äää"]);
    await untilFilled(server, 1);
    const barrier = source.hold();
    const reads = Array.from({ length: 3 }, async () => {
      await Promise.resolve();
      return server.things.lookup("large");
    });
    await barrier.arrivals(1);
    const later = server.things.lookup("large");
    await barrier.arrivals(2);
    barrier.release();
    for (const read of [...reads, later]) expect(await read).toEqual({ value: "äää", from: "source" });
    expect(server.things.counts()).toMatchObject({ tooLarge: 1, fills: 1, waited: 0, uncached: 2 });
    expect(server.events).toEqual([{ type: "too-large", collection: "thing" }]);
  });

  it("is answered by the source where the entry is corrupt, until it is invalidated", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source);
    await server.things.get("a");
    await untilFilled(server, 1);
    const { entry } = server.keysOf("a");
    const epoch = (await server.client.get(entry))?.slice(0, 16) ?? "";
    for (const text of ["v1:{", "v1:", "v1:x"]) {
      await server.client.set(entry, `${epoch} ${text}`);
      expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
    }
    expect(server.events.map(({ type }) => type)).toEqual(["corrupt", "corrupt", "corrupt"]);
    expect(server.things.counts()).toMatchObject({ hits: 0, uncached: 3 });
    await server.things.invalidate("a");
    await server.things.get("a");
    await untilFilled(server, 2);
    expect(await server.things.lookup("a")).toEqual({ value: 1, from: "shared" });
  });
});

describe("the reads of one tick", () => {
  it("share one trip to Redis and one load", async () => {
    const source = new Source({ a: 1, b: 2 });
    const server = await openWarmServer(source, { loadMany: source.loadMany });
    await server.things.get("script is known from now on");
    await untilFilled(server, 1);
    const evalsha = vi.spyOn(server.client, "evalsha");
    const read = () => Promise.all([server.things.get("a"), server.things.getMany(["b", "a"]), server.things.get("b")]);
    expect(await read()).toEqual([1, [2, 1], 2]);
    expect(evalsha).toHaveBeenCalledTimes(1);
    await untilFilled(server, 3);
    expect(evalsha).toHaveBeenCalledTimes(2); // both fills
    expect(await read()).toEqual([1, [2, 1], 2]);
    expect(evalsha).toHaveBeenCalledTimes(3);
    expect(source.loads.slice(1)).toEqual([["a", "b"]]);
    expect(server.things.counts()).toMatchObject({ misses: 3, hits: 2, coalesced: 4 });
  });

  it("are those of callers that wake from one promise too", async () => {
    const server = await openWarmServer(new Source({ a: 1, b: 2, c: 3 }));
    await server.things.getMany(["a", "b", "c"]);
    await untilFilled(server, 3);
    const evalsha = vi.spyOn(server.client, "evalsha");
    const gun = Promise.resolve();
    const runners = ["a", "b", "c"].map(async (id) => {
      await gun;
      return server.things.get(id);
    });
    expect(await Promise.all(runners)).toEqual([1, 2, 3]);
    expect(evalsha).toHaveBeenCalledTimes(1);
  });

  it("get values in the order of their ids, and duplicates as often as asked for", async () => {
    const server = openServer(new Source({ a: 1, b: 2 }), { pendingMs: 3_600_000 });
    expect(await server.things.getMany(["b", "none", "a", "b", "a"])).toEqual([2, undefined, 1, 2, 1]);
    expect(await server.things.getMany([])).toEqual([]);
    expect(await server.things.lookupMany(["b", "b"])).toEqual([
      { value: 2, from: "source" },
      { value: 2, from: "source" },
    ]);
  });

  it("may be of many ids: no script is long", async () => {
    const ids = Array.from({ length: 300 }, (_, index) => `${index}`);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, `value of ${id}`])));
    const server = await openWarmServer(source, { loadMany: source.loadMany });
    const expected = ids.map((id) => `value of ${id}`);
    expect(await server.things.getMany(ids)).toEqual(expected);
    await untilFilled(server, 300);
    const evalsha = vi.spyOn(server.client, "evalsha");
    expect(await server.things.getMany(ids)).toEqual(expected);
    expect(evalsha).toHaveBeenCalledTimes(3);
  });

  it("fail each by itself", async () => {
    const source = new Source({ good: 1 });
    const load: CollectionOptions<unknown>["load"] = (id, context) =>
      id === "bad" ? Promise.reject(new Error("the source refuses it")) : source.load(id, context);
    const { things } = openServer(source, { load });
    const outcomes = await Promise.allSettled([things.get("bad"), things.get("good"), things.get("")]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
    await expect(things.getMany(["good", "bad"])).rejects.toThrow("the source refuses it");
  });
});

describe("a listener that fails", () => {
  it.each<[string, () => unknown]>([
    ["throws", () => thrown()],
    ["rejects", async () => Promise.resolve().then(thrown)],
  ])("does the reader no harm, and becomes a warning of the process: it %s", async (_name, onEvent) => {
    const warned = vi.spyOn(process, "emitWarning").mockReturnValue(undefined);
    onTestFinished(() => warned.mockRestore());
    const server = await openWarmServer(new Source({ a: "large" }), { maxBytes: 1, onEvent });
    expect(await server.things.get("a")).toBe("large");
    await until(() => expect(warned).toHaveBeenCalled());
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("a listener's bug"), "LockstepWarning");
    await until(async () => expect(await server.client.exists(server.keysOf("a").entry)).toBe(0));
  });
});

function thrown(): never {
  throw new Error("a listener's bug");
}
