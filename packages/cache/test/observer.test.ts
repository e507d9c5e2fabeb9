import { describe, expect, it, vi } from "vitest";
import { uniqueName } from "./harness/redis.ts";
import { openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";
import { withoutRule } from "./harness/without-rule.ts";

const observeAll = { observe: { rate: 1 } };

/** Reads until so many answers have been compared. */
async function untilObserved({ things }: Server, id: string, count = 1): Promise<void> {
  const { observed } = things.counts();
  await until(async () => {
    await things.get(id);
    expect(things.counts().observed).toBeGreaterThanOrEqual(observed + count);
  });
}

describe("an observer", () => {
  it("finds nothing to tell of where source, entry and copy agree", async () => {
    const source = new Source({ a: { list: [1, { at: new Date(0) }] }, none: undefined });
    const server = await openWarmServer(source, { ...observeAll, coherence: "bounded", copyMs: 60_000 });
    for (const id of ["a", "none"]) await untilObserved(server, id, 3);
    expect(server.things.counts()).toMatchObject({ staleCopies: 0, staleEntries: 0 });
    expect(server.events).toEqual([]);
  });

  it("tells of an entry whose source was changed past the cache, with its id to who asks for that", async () => {
    const source = new Source({ a: "old" });
    const onDisagreement = vi.fn();
    const server = await openWarmServer(source, { observe: { rate: 1, onDisagreement } });
    await untilObserved(server, "a");
    source.rows.set("a", "new");
    await until(async () => {
      await server.things.get("a");
      expect(server.things.counts().staleEntries).toBeGreaterThan(0);
    });
    expect(onDisagreement).toHaveBeenCalledWith({ id: "a", cause: "entry" });
    expect(server.events).toContainEqual({ type: "disagreement", collection: "thing", cause: "entry" });
  });

  it("tells of a copy that another server's update has outdated", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { ...observeAll, coherence: "bounded", copyMs: 60_000 });
    await until(async () => expect((await one.things.lookup("a")).from).toBe("near"));
    await other.things.update("a", source.write("a", "new"));
    await until(async () => {
      expect(await one.things.get("a")).toBe("old");
      expect(one.things.counts().staleCopies).toBeGreaterThan(0);
    });
    expect(one.things.counts().staleEntries).toBe(0);
  });

  it("takes no read for stale that a write explains, however many there are", async () => {
    const source = new Source({ a: 0 });
    const [one, other] = await openTwoServers(source, observeAll);
    let version = 0;
    await until(async () => {
      const writer = version % 2 === 0 ? one : other;
      version += 1;
      const reads = [one, other].map(({ things }) => things.get("a"));
      await Promise.all([...reads, writer.things.update("a", source.write("a", version))]);
      await Promise.all([one, other].map(({ things }) => things.get("a")));
      expect(one.things.counts().observed + other.things.counts().observed).toBeGreaterThan(150);
    });
    for (const { things } of [one, other]) expect(things.counts()).toMatchObject({ staleCopies: 0, staleEntries: 0 });
  });

  it("sees stale entries once fills are stored without their token", async () => {
    const source = new Source({ a: 0 });
    const name = uniqueName();
    const { createCache } = await withoutRule("observed-fill-without-token", {
      file: "lua/store.lua",
      cut: "not (isFill or isRefresh)",
      instead: "false",
    });
    const loader = await openWarmServer(source, { name, create: createCache });
    const writer = await openWarmServer(source, { name, ...observeAll });
    const barrier = source.hold();
    const loading = loader.things.get("a");
    await barrier.arrivals(1);
    source.holdNoMore();
    await writer.things.update("a", source.write("a", 1));
    barrier.release();
    expect(await loading).toBe(0);
    await until(async () => {
      await writer.things.get("a");
      expect(writer.things.counts().staleEntries).toBeGreaterThan(0);
    });
  });

  it("asks the source for one at a time, and for none at rate 0", async () => {
    const source = new Source({ a: 1, b: 2 });
    const [one, other] = await openTwoServers(source, observeAll);
    const silent = await openWarmServer(source, { observe: { rate: 0 } });
    for (const { things } of [one, silent]) {
      await things.getMany(["a", "b"]);
      await until(() => expect(things.counts().fills).toBe(2));
    }
    const { length } = source.loads;
    const barrier = source.hold();
    for (const { things } of [other, silent]) await Promise.all([things.getMany(["a", "b"]), things.get("a")]);
    await barrier.arrivals(1);
    await other.things.getMany(["a", "b"]);
    expect(source.loads).toHaveLength(length + 1);
    barrier.release();
    await until(() => expect(other.things.counts().observed).toBe(1));
    expect(silent.things.counts().observed).toBe(0);
  });

  it("tells that it could not compare, and goes on", async () => {
    const source = new Source({ a: 1 });
    let isBroken = false;
    const load: typeof source.load = (...args) =>
      isBroken ? Promise.reject(new Error("out of order")) : source.load(...args);
    const server = await openWarmServer(source, { ...observeAll, load });
    await untilObserved(server, "a");
    isBroken = true;
    await until(async () => {
      expect(await server.things.get("a")).toBe(1);
      expect(server.events.map(({ type }) => type)).toContain("observation-failed");
    });
    isBroken = false;
    await untilObserved(server, "a");
  });

  it("does no harm where who is told throws, or rejects", async () => {
    const source = new Source({ a: "old" });
    const onDisagreement = () => Promise.reject(new Error("nobody listens"));
    const server = await openWarmServer(source, { observe: { rate: 1, onDisagreement } });
    await untilObserved(server, "a");
    source.rows.set("a", "new");
    await until(async () => {
      await server.things.get("a");
      expect(server.events.map(({ type }) => type)).toContain("observation-failed");
    });
  });

  it("must be asked for a part of the reads", async () => {
    const { cache } = await openWarmServer(new Source());
    for (const rate of [-0.1, 1.1, NaN]) {
      const open = () => cache.collection("other", { load: () => Promise.resolve(1), ttlMs: 1, observe: { rate } });
      expect(open).toThrow("observe.rate must be");
    }
  });
});
