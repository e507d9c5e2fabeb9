import { describe, expect, it } from "vitest";
import type { CollectionOptions } from "../src/index.ts";
import { Counts } from "../src/counts.ts";
import { resolveCollectionOptions } from "../src/options.ts";
import { SourceLoads } from "../src/source-loads.ts";
import { Source } from "./harness/source.ts";

function loadsOf(source: Source, options: Partial<CollectionOptions<unknown>> = {}) {
  const loader = options.loadMany === undefined ? { load: source.load } : {};
  const counts = new Counts({ cache: "c", type: "t" });
  const loads = new SourceLoads(resolveCollectionOptions("t", { ttlMs: 1, ...loader, ...options }), counts);
  return { load: (id: string) => loads.load(id, id), counts: () => counts.counts() };
}

/** All that is due now has happened, timers aside. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
const overloaded = { code: "OVERLOADED" };

describe("loads from the source", () => {
  it("run so many at a time, and the rest in their order", async () => {
    const source = new Source();
    const { load, counts } = loadsOf(source, { maxSourceConcurrency: 2 });
    const barrier = source.hold();
    const all = Promise.all(["a", "b", "c", "d", "e"].map(load));
    await barrier.arrivals(2);
    await settled();
    expect(source.loads).toEqual([["a"], ["b"]]);
    barrier.release();
    await all;
    expect(source.loads.flat()).toEqual(["a", "b", "c", "d", "e"]);
    expect(source.mostAtOnce).toBe(2);
    expect(counts()).toMatchObject({ loads: 5, coalesced: 0 });
  });

  it("refuse who finds the queue full, and nobody else", async () => {
    const source = new Source();
    const { load } = loadsOf(source, { maxSourceConcurrency: 1, maxSourceQueue: 2 });
    const barrier = source.hold();
    const first = load("a");
    await barrier.arrivals(1);
    const queued = [load("b"), load("c")];
    await expect(load("d")).rejects.toMatchObject(overloaded);
    queued.push(load("c")); // shares the place of one that waits
    barrier.release();
    await Promise.all([first, ...queued]);
    expect(source.loads.flat()).toEqual(["a", "b", "c"]);
  });

  it("C6: are shared until they are sent, and by nobody who comes later", async () => {
    const source = new Source();
    source.rows.set("a", "old");
    const { load, counts } = loadsOf(source);
    const early = [load("a"), load("a")];
    const barrier = source.hold();
    await barrier.arrivals(1);
    source.rows.set("a", "new");
    source.holdNoMore();
    expect(await load("a")).toBe("new");
    barrier.release();
    expect(await Promise.all(early)).toEqual(["old", "old"]);
    expect(counts()).toMatchObject({ loads: 2, coalesced: 1 });
  });

  it("C6: that wait for their turn read the source after all who share them have come", async () => {
    const source = new Source();
    source.rows.set("a", "old");
    const { load } = loadsOf(source, { maxSourceConcurrency: 1 });
    const barrier = source.hold();
    const other = load("other");
    await barrier.arrivals(1);
    const early = load("a");
    source.rows.set("a", "new");
    const late = load("a");
    barrier.release();
    expect(await Promise.all([other, early, late])).toEqual([undefined, "new", "new"]);
  });

  it("end in time, and give their place to the next", async () => {
    const source = new Source();
    const { load, counts } = loadsOf(source, { maxSourceConcurrency: 1, loadTimeoutMs: 30 });
    const barrier = source.hold();
    const hanging = load("a");
    await barrier.arrivals(1);
    await expect(hanging).rejects.toMatchObject({ code: "LOAD_TIMEOUT" });
    source.holdNoMore();
    expect(await load("b")).toBeUndefined();
    expect(counts()).toMatchObject({ failedLoads: 1, loads: 1 });
    barrier.release();
  });

  it("tell the loader when their time is over", async () => {
    const reasons: unknown[] = [];
    const { load } = loadsOf(new Source(), {
      loadTimeoutMs: 20,
      load: (_id, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            reasons.push(signal.reason);
            reject(new Error("aborted by the loader"));
          });
        }),
    });
    await expect(load("a")).rejects.toMatchObject({ code: "LOAD_TIMEOUT" });
    expect(reasons).toEqual([expect.objectContaining({ code: "LOAD_TIMEOUT" })]);
  });

  it("do not wait for their turn longer than a load may take", async () => {
    const source = new Source();
    const { load } = loadsOf(source, { maxSourceConcurrency: 1, loadTimeoutMs: 40 });
    const barrier = source.hold();
    const startedAt = performance.now();
    const outcomes = await Promise.allSettled(["a", "b", "c", "d"].map(load));
    expect(performance.now() - startedAt).toBeLessThan(400);
    expect(outcomes.map((outcome) => (outcome.status === "rejected" ? (outcome.reason as Error) : outcome))).toEqual(
      outcomes.map(() => expect.objectContaining({ name: "CacheError" }) as unknown),
    );
    expect(source.loads.flat().length).toBeLessThan(4);
    barrier.release();
  });

  it("fail as the loader does, thrown or rejected, and are not remembered", async () => {
    const failures = [new Error("rejected"), new Error("thrown")];
    const { load, counts } = loadsOf(new Source(), {
      load: () => {
        const failure = failures.pop();
        if (failure?.message === "thrown") throw failure;
        return failure === undefined ? Promise.resolve("fine") : Promise.reject(failure);
      },
    });
    await expect(load("a")).rejects.toThrow("thrown");
    await expect(load("a")).rejects.toThrow("rejected");
    expect(await load("a")).toBe("fine");
    expect(counts()).toMatchObject({ failedLoads: 2, loads: 1 });
  });
});

describe("loads of many", () => {
  it("ask once for all that come in one tick; who is absent from the answer is missing", async () => {
    const source = new Source();
    for (const id of ["a", "b"]) source.rows.set(id, `value of ${id}`);
    const { load } = loadsOf(source, { loadMany: source.loadMany });
    expect(await Promise.all(["b", "none", "a", "b"].map(load))).toEqual([
      "value of b",
      undefined,
      "value of a",
      "value of b",
    ]);
    expect(source.loads).toEqual([["b", "none", "a"]]);
  });

  it("leave single ones to the loader for one, where there is one", async () => {
    const source = new Source();
    const single: string[] = [];
    const load = (id: string) => Promise.resolve(single.push(id));
    const { load: ask } = loadsOf(source, { load, loadMany: source.loadMany });
    await ask("a");
    await Promise.all([ask("b"), ask("c")]);
    expect(single).toEqual(["a"]);
    expect(source.loads).toEqual([["b", "c"]]);
  });

  it("ask for 500 ids at most at a time", async () => {
    const source = new Source();
    const { load } = loadsOf(source, { loadMany: source.loadMany, maxSourceQueue: 2_000 });
    await Promise.all(Array.from({ length: 1_100 }, (_, index) => load(`${index}`)));
    expect(source.loads.map(({ length }) => length)).toEqual([500, 500, 100]);
  });
});
