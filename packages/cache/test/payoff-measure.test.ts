import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Counts } from "../src/counts.ts";
import { resolveCollectionOptions } from "../src/options.ts";
import { PayoffMeasure } from "../src/payoff-measure.ts";
import { payoffOf } from "../src/payoff.ts";
import { SourceLoads } from "../src/source-loads.ts";
import { intercept, testClient } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type ServerOptions } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** How long each thing takes by the tests' own clock. */
const tripMs = 2;
const loadMs = 30;

/** Once held, the clock that durations are measured by stands still unless a test moves it. */
function testClock() {
  let now = 0;
  return {
    hold: () => {
      now = Math.ceil(performance.now());
      const spy = vi.spyOn(performance, "now").mockImplementation(() => now);
      onTestFinished(() => {
        spy.mockRestore();
      });
    },
    advance: (ms: number) => {
      now += ms;
    },
  };
}

/** A server whose trips to Redis take `tripMs` each, and its loads `loadMs`. */
async function openTimed(options: ServerOptions = {}) {
  const source = new Source({ a: 1, b: 2, c: 3 });
  const clock = testClock();
  const slower = (send: () => Promise<unknown>) => {
    clock.advance(tripMs);
    return send();
  };
  const client = intercept(testClient(), slower, ["evalsha", "getex"]);
  const loadMany: ServerOptions["loadMany"] = (ids, context) => {
    clock.advance(loadMs);
    if (ids.includes("broken")) throw new Error("the source is down");
    return source.loadMany(ids, context);
  };
  const server = await openWarmServer(source, { client, loadMany, ...options });
  await server.cache.ready();
  clock.hold();
  return { ...server, clock };
}

const write = (clock: { advance: (ms: number) => void }, value: unknown) => () => {
  clock.advance(1_000);
  return Promise.resolve(value);
};

describe("what a collection measures of its reads", () => {
  it("is the time that each caller waited, and which tier answered", async () => {
    const { things } = await openTimed();
    await things.get("a");
    expect(things.report()).toMatchObject({ reads: 1, loads: 1, answeredBy: { near: 0, shared: 0, source: 1 } });
    expect(things.report().readMs).toBeCloseTo(tripMs + loadMs, 6);
    expect(things.report().loadMs).toBeCloseTo(loadMs, 6);
    // The entry is stored behind the read's back; its trip is nobody's.
    await until(() => {
      expect(things.counts().fills).toBe(1);
    });
    await things.get("a");
    expect(things.report()).toMatchObject({ reads: 2, loadsSaved: 1, hitRate: 0.5 });
    expect(things.report().readMs).toBeCloseTo((2 * tripMs + loadMs) / 2, 6);
    expect(things.report().tripMs).toBeCloseTo(tripMs, 2);
    expect(things.report().breakEvenHitRate).toBeCloseTo(tripMs / loadMs, 3);
  });

  it("is nothing for a near copy, which is answered at once", async () => {
    const { things } = await openTimed({ coherence: "bounded", copyMs: 60_000 });
    await things.get("a");
    await until(() => {
      expect(things.counts().fills).toBe(1);
    });
    await things.get("a");
    const before = things.report();
    for (let read = 0; read < 8; read += 1) await things.get("a");
    const after = things.report();
    expect(after.answeredBy).toEqual({ near: 0.8, shared: 0.1, source: 0.1 });
    expect(after.readMs).toBeCloseTo((before.readMs ?? NaN) / 5, 6);
  });

  it("counts every near hit, and times one of sixteen for all", () => {
    const clock = testClock();
    clock.hold();
    const measure = new PayoffMeasure();
    const hits = (count: number, ms: number) => {
      for (let hit = 0; hit < count; hit += 1) {
        const startedAt = performance.now();
        clock.advance(ms);
        measure.nearHit(startedAt);
      }
      return measure.measured(null);
    };
    hits(1, 2);
    expect(hits(15, 1)).toMatchObject({ answers: { near: 16 }, reads: { calls: 16, count: 16, totalMs: 32 } });
    expect(hits(1, 1)).toMatchObject({ answers: { near: 17 }, reads: { calls: 17, count: 17, totalMs: 33 } });
  });

  it("is the time of the whole call for each id of it: its caller waits for the last", async () => {
    const { things } = await openTimed();
    await things.get("a");
    await until(() => {
      expect(things.counts().fills).toBe(1);
    });
    const before = things.report();
    await things.getMany(["a", "b", "c", "none"]);
    const { reads, readMs, loads, loadMs: meanLoadMs } = things.report();
    expect({ reads, loads }).toEqual({ reads: 5, loads: 4 });
    expect(readMs).toBeCloseTo(((before.readMs ?? NaN) + 4 * (tripMs + loadMs)) / 5, 6);
    expect(meanLoadMs).toBeCloseTo(loadMs, 6);
  });

  it("counts each of those that share a trip, or another's load", async () => {
    const { things } = await openTimed();
    await Promise.all([things.get("a"), things.get("a"), things.get("a")]);
    expect(things.report()).toMatchObject({ reads: 3, loads: 1, loadsSaved: 2, answeredBy: { source: 1 } });
  });

  it("leaves out what failed, and counts it", async () => {
    const { things } = await openTimed();
    await things.get("a");
    const before = things.report();
    await expect(things.get("broken")).rejects.toThrow("down");
    await expect(things.getMany(["broken", "b"])).rejects.toThrow("down");
    expect(things.report()).toMatchObject({ reads: 1, failedReads: 3, loads: 1, failedLoads: 3 });
    expect(things.report().readMs).toBe(before.readMs);
    expect(things.report().loadMs).toBe(before.loadMs);
  });

  it("is not known of loads where another server has loaded all", async () => {
    const [loader, reader] = await openTwoServers(new Source({ a: 1 }));
    await loader.things.get("a");
    await until(async () => {
      expect((await reader.things.lookup("a")).from).toBe("shared");
    });
    const report = reader.cache.collections()[0]?.report?.();
    expect(report).toMatchObject({ verdict: "needs more reads", hitRate: 1, loads: 0, loadMs: null });
    expect(report?.words).toContain("other servers had loaded");
  });
});

describe("what a collection measures of its loads", () => {
  it("does not hold the wait for a free place at the source", async () => {
    const counts = new Counts({ cache: "c", type: "t" });
    const source = new Source();
    const options = resolveCollectionOptions("t", { ttlMs: 1, load: source.load, maxSourceConcurrency: 1 });
    const loads = new SourceLoads(options, counts);
    const barrier = source.hold();
    const clock = testClock();
    clock.hold();
    const [first, second] = [loads.load("a", "a"), loads.load("b", "b")];
    await barrier.arrivals(1);
    clock.advance(500);
    source.holdNoMore();
    barrier.release();
    await Promise.all([first, second]);
    expect(payoffOf(counts.payoff.measured(null))).toMatchObject({ loads: 2, loadMs: 250 });
  });
});

describe("what a collection measures of its writes", () => {
  it("is what they wait for the cache, without the caller's own write", async () => {
    const { things, clock } = await openTimed();
    await things.update("a", write(clock, 5));
    expect(things.report().writes).toBe(1);
    expect(things.report().writeMs).toBeCloseTo(2 * tripMs, 6);
    await things.invalidateMany(["a", "b"]);
    expect(things.report().writes).toBe(2);
    expect(things.report().writeMs).toBeCloseTo((3 * tripMs) / 2, 6);
  });

  it("leaves out a write that failed", async () => {
    const { things } = await openTimed();
    await expect(things.update("a", () => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
    expect(things.report()).toMatchObject({ writes: 0, writeMs: null });
  });
});

it("opens with nothing to say", () => {
  const { things } = openServer(new Source());
  expect(things.report()).toMatchObject({ verdict: "needs more reads", words: "Nothing has been read yet.", reads: 0 });
});
