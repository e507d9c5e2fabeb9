import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PayoffMeasure } from "../src/payoff-measure.ts";
import { payoffOf, type PayoffVerdict } from "../src/payoff.ts";

/** What happened: calls with the ids of each and its time in ms, and which tier answered the reads. */
interface Past {
  readonly reads: readonly { readonly ids: number; readonly ms: number; readonly from: "near" | "shared" | "source" }[];
  readonly loads: readonly { readonly ids: number; readonly ms: number }[];
  readonly writes: readonly number[];
}

function reportOf({ reads = [], loads = [], writes = [] }: Partial<Past>, tripMs: number | null = 1) {
  const measure = new PayoffMeasure();
  for (const { ids, ms, from } of reads) {
    measure.read(ids, ms);
    for (let id = 0; id < ids; id += 1) measure.answered(from);
  }
  for (const { ids, ms } of loads) measure.load(ids, ms);
  for (const ms of writes) measure.write(ms);
  return payoffOf(measure.measured(tripMs));
}

const times = (count: number, ...ms: number[]) => Array.from({ length: count }, (_, turn) => ms[turn % ms.length] ?? 0);
const readsOf = (count: number, from: "near" | "shared" | "source", ...ms: number[]) =>
  times(count, ...ms).map((each) => ({ ids: 1, ms: each, from }));
const loadsOf = (count: number, ...ms: number[]) => times(count, ...ms).map((each) => ({ ids: 1, ms: each }));

// Whole numbers, so that sums have no rounding of their own.
const anyTime = fc.nat({ max: 5_000 });
const anyIds = fc.integer({ min: 1, max: 30 });
const anyReads = fc.array(
  fc.record({ ids: anyIds, ms: anyTime, from: fc.constantFrom("near" as const, "shared" as const, "source" as const) }),
  { minLength: 1, maxLength: 150 },
);
const anyLoads = fc.array(fc.record({ ids: anyIds, ms: anyTime }), { minLength: 1, maxLength: 60 });
const anyPast = fc.record({ reads: anyReads, loads: anyLoads, writes: fc.array(anyTime, { maxLength: 50 }) });

describe("a payoff report", () => {
  it("adds up", () => {
    fc.assert(
      fc.property(anyPast, (past) => {
        const report = reportOf(past);
        const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
        const reads = sum(past.reads.map(({ ids }) => ids));
        const loads = sum(past.loads.map(({ ids }) => ids));
        const readsMs = sum(past.reads.map(({ ids, ms }) => ids * ms));
        const loadMs = sum(past.loads.map(({ ids, ms }) => ids * ms)) / loads;
        const netMs = reads * loadMs - readsMs - sum(past.writes);
        expect(report).toMatchObject({ reads, loads, loadsSaved: Math.max(0, reads - loads) });
        expect(report.netMs).toBeCloseTo(netMs, 3);
        expect((report.netMsPerRead?.meanMs ?? NaN) * reads).toBeCloseTo(netMs, 3);
        expect(report.savedMsPerRead).toBeCloseTo(loadMs - readsMs / reads, 6);
        const { near = NaN, shared = NaN, source = NaN } = report.answeredBy ?? {};
        expect(near + shared + source).toBeCloseTo(1, 9);
        expect(report.hitRate).toBeCloseTo(near + shared, 9);
        expect(report.netMsPerRead?.lowMs).toBeLessThanOrEqual(report.netMsPerRead?.meanMs ?? NaN);
      }),
    );
  });

  it("never judges the cache worse because loads take longer", () => {
    const order: readonly PayoffVerdict[] = ["costs", "needs more reads", "pays"];
    fc.assert(
      fc.property(anyPast, fc.nat({ max: 10_000 }), (past, longerMs) => {
        const slower = { ...past, loads: past.loads.map(({ ids, ms }) => ({ ids, ms: ms + longerMs })) };
        const [before, after] = [reportOf(past), reportOf(slower)];
        expect(order.indexOf(after.verdict)).toBeGreaterThanOrEqual(order.indexOf(before.verdict));
      }),
    );
  });

  it("is plain JSON, whatever happened", () => {
    const anything = fc.record({
      reads: fc.oneof(fc.constant([]), anyReads),
      loads: fc.oneof(fc.constant([]), anyLoads),
      writes: fc.array(anyTime, { maxLength: 5 }),
    });
    fc.assert(
      fc.property(anything, fc.option(anyTime), (past, tripMs) => {
        const report = reportOf(past, tripMs);
        expect(JSON.parse(JSON.stringify(report))).toEqual(report);
        expect(report.words).toMatch(/\.$/);
        expect(report.words).not.toMatch(/NaN|undefined|null|Infinity/);
      }),
    );
  });

  it("has the interval of Welch, which reads of one call don't narrow", () => {
    const single = reportOf({ reads: readsOf(100, "shared", 1, 3), loads: loadsOf(20, 8, 12) });
    // s² is 100/99 of the reads and 4 × 20/19 of the loads.
    const half = 1.96 * Math.sqrt(100 / 99 / 100 + (4 * 20) / 19 / 20);
    expect(single.netMsPerRead?.meanMs).toBeCloseTo(8, 9);
    expect(single.netMsPerRead?.lowMs).toBeCloseTo(8 - half, 9);
    expect(single.netMsPerRead?.highMs).toBeCloseTo(8 + half, 9);
    const inTens = reportOf({
      reads: readsOf(100, "shared", 1, 3).map((read) => ({ ...read, ids: 10 })),
      loads: loadsOf(20, 8, 12).map((load) => ({ ...load, ids: 10 })),
    });
    expect(inTens.netMsPerRead?.lowMs).toBeCloseTo(8 - half, 9);
    expect(inTens).toMatchObject({ reads: 1_000, readCalls: 100, loads: 200, loadCalls: 20 });
  });

  it("says 100 % of hits only if all reads were", () => {
    const past = [...readsOf(1, "near", 1), ...readsOf(48, "shared", 1)];
    expect(reportOf({ reads: past }).hitRate).toBe(1);
    expect(reportOf({ reads: [...past, ...readsOf(1, "source", 1)] }).hitRate).toBe(0.98);
  });
});

describe("its verdict and words", () => {
  const fastReads = readsOf(1_000, "shared", 0.3, 0.5);

  it("say that a cache pays", () => {
    const report = reportOf({ reads: fastReads, loads: loadsOf(40, 3, 3.2), writes: times(10, 0.8) });
    expect(report.verdict).toBe("pays");
    expect(report.words).toBe(
      "Each read took 0.4 ms on average; without the cache it would have taken 3.1 ms. In all it has saved its callers 2.7 s, " +
        "although 10 writes waited 0.8 ms each for it, and the source 960 loads.",
    );
  });

  it("say what hit rate it would need", () => {
    const reads = [...readsOf(900, "source", 4), ...readsOf(100, "shared", 1)];
    const report = reportOf({ reads, loads: loadsOf(900, 3) });
    expect(report.verdict).toBe("costs");
    expect(report.breakEvenHitRate).toBeCloseTo(1 / 3, 9);
    expect(report.words).toContain("It would need a hit rate above 33.4 %, and has 10.0 %");
  });

  it("say that no hit rate is enough where asking takes longer than loading", () => {
    const report = reportOf({ reads: readsOf(500, "shared", 2), loads: loadsOf(50, 1) }, 2);
    expect(report.verdict).toBe("costs");
    expect(report.words).toContain("No hit rate would make that good: asking the cache takes 2 ms, a load 1 ms.");
  });

  it("say that reads wait for something else where the hit rate would be enough", () => {
    const report = reportOf({ reads: readsOf(500, "shared", 9), loads: loadsOf(50, 4) });
    expect(report.verdict).toBe("costs");
    expect(report.words).toContain("its reads wait for something else");
  });

  it("say that writes pay more than reads gain", () => {
    const report = reportOf({ reads: readsOf(500, "shared", 1), loads: loadsOf(50, 3), writes: times(600, 2) });
    expect(report).toMatchObject({ verdict: "costs", savedMsPerRead: 2 });
    expect(report.netMs).toBeCloseTo(500 * 2 - 600 * 2, 9);
    expect(report.words).toContain("600 writes waited 2 ms each for the cache, and 500 reads gained 2 ms each");
  });

  it("wait for a number of calls, however many ids each has", () => {
    expect(reportOf({ reads: fastReads, loads: loadsOf(19, 5) }).verdict).toBe("needs more reads");
    expect(reportOf({ reads: fastReads, loads: loadsOf(20, 5) }).verdict).toBe("pays");
    expect(reportOf({ reads: fastReads.slice(1, 100), loads: loadsOf(20, 5) }).verdict).toBe("needs more reads");
    const oneLoad = [{ ids: 500, ms: 5 }];
    const report = reportOf({ reads: fastReads, loads: oneLoad });
    expect(report.verdict).toBe("needs more reads");
    expect(report.words).toContain("1,000 calls that read and 1 of the loader, where it takes 100 and 20.");
  });

  it("wait while the difference may be chance", () => {
    const report = reportOf({ reads: readsOf(200, "source", 0, 10), loads: loadsOf(200, 0, 10.2) });
    expect(report.verdict).toBe("needs more reads");
    expect(report.words).toContain(
      "That may be chance: writes included, a read costs up to 0.89 ms or saves up to 1.1 ms.",
    );
  });

  it("tell why nothing is known where others have loaded all that is read here", () => {
    const report = reportOf({ reads: fastReads });
    expect(report).toMatchObject({ verdict: "needs more reads", loadMs: null, netMs: null, breakEvenHitRate: null });
    expect(report.words).toContain("what it read, other servers had loaded");
  });

  it("say so where nothing was read", () => {
    expect(reportOf({}, null)).toMatchObject({ words: "Nothing has been read yet.", hitRate: null, readMs: null });
  });
});

describe("what near copies bring", () => {
  const nearOf = (hits: number, waitsMs: readonly number[], tripMs: number | null = 0.5) => {
    const measure = new PayoffMeasure();
    for (let hit = 0; hit < hits; hit += 1) {
      measure.read(1, 0);
      measure.answered("near");
    }
    for (const ms of waitsMs) measure.revocation(ms);
    measure.load(1, 2);
    return payoffOf(measure.measured(tripMs), { hasNear: true });
  };

  it("is what reads from memory saved, less what writes waited for other servers", () => {
    const { near, words } = nearOf(1_000, times(100, 1, 3));
    expect(near).toEqual({
      verdict: "pays",
      hits: 1_000,
      savedMs: 500,
      writes: 100,
      paidMs: 200,
      breakEvenHitsPerWrite: 4,
    });
    expect(words).toContain(
      "Near copies pay: 1,000 reads from this server's own memory saved 500 ms of trips, for which 100 writes waited 200 ms for other servers.",
    );
  });

  it("is a loss where there are too few reads to a write, and says how many it takes", () => {
    const { near, words } = nearOf(100, times(100, 2));
    expect(near).toMatchObject({ verdict: "costs", savedMs: 50, paidMs: 200, breakEvenHitsPerWrite: 4 });
    expect(words).toContain("Near copies cost more than they save");
    expect(words).toContain("It takes 4 of them to a write.");
  });

  it("is not known before there were reads from memory, or a trip to compare with", () => {
    expect(nearOf(99, []).near).toMatchObject({ verdict: "needs more reads", breakEvenHitsPerWrite: null });
    expect(nearOf(1_000, [1], null).near).toMatchObject({ verdict: "needs more reads", savedMs: null });
    expect(nearOf(99, []).words).not.toContain("Near copies");
  });

  it("is no question where there are none", () => {
    expect(reportOf({ reads: readsOf(200, "near", 1) }).near).toBeNull();
  });
});
