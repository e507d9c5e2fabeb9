import type { PayoffReport } from "@lockstep/cache";
import { h } from "preact";
import { render } from "preact-render-to-string";
import { describe, expect, it } from "vitest";
import { percent } from "../src/views/numbers.ts";
import { Payoff } from "../src/views/payoff.tsx";

const known: PayoffReport = {
  verdict: "pays",
  words: "Each read took 0.4 ms on average.",
  reads: 990,
  readCalls: 500,
  failedReads: 10,
  answeredBy: { near: 0.25, shared: 0.5, source: 0.25 },
  hitRate: 0.75,
  loads: 240,
  loadCalls: 120,
  failedLoads: 10,
  loadsSaved: 750,
  readMs: 1.25,
  loadMs: 3.1,
  savedMsPerRead: 1.85,
  writes: 12,
  writeMs: 0.8,
  netMsPerRead: { meanMs: 1.84, lowMs: 1.7, highMs: 1.98 },
  netMs: 1_821.6,
  breakEvenHitRate: 0.129,
  near: null,
  tripMs: 0.4,
};

const nothing: PayoffReport = {
  ...known,
  ...{
    verdict: "needs more reads",
    words: "Nothing has been read yet.",
    reads: 0,
    failedReads: 0,
    loads: 0,
    writes: 0,
  },
  ...{ answeredBy: null, hitRate: null, readMs: null, loadMs: null, savedMsPerRead: null, writeMs: null },
  ...{ netMsPerRead: null, netMs: null, breakEvenHitRate: null, tripMs: null, near: null },
};

const shown = (report: PayoffReport) => render(h(Payoff, { type: "profile", report }));

/** The place of each part of a bar in a drawing, from 0 to 360. */
function placesOf(html: string, kind: string): { x: number; width: number }[] {
  const rects = html.matchAll(new RegExp(`<rect class="${kind}[^>]* x="([\\d.]+)"[^>]* width="([\\d.]+)"`, "g"));
  return Array.from(rects, ([, x, width]) => ({ x: Number(x), width: Number(width) }));
}

describe("what the page shows of a payoff report", () => {
  it("is its verdict in words, three drawings that say what they show, and the same in numbers", () => {
    const html = shown(known);
    expect(html).toContain('data-verdict="pays"');
    expect(html.replaceAll("\u00a0", " ")).toContain(known.words);
    const drawings = html.match(/<svg role="img" aria-labelledby="([^"]+)"/g) ?? [];
    expect(drawings).toHaveLength(3);
    const ids = Array.from(html.matchAll(/ id="([^"]+)"/g), ([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const named = drawings.flatMap((drawing) => (/labelledby="([^"]+)"/.exec(drawing)?.[1] ?? "").split(" "));
    expect(named.toSorted()).toEqual(ids.toSorted());
    expect(html).toContain("with the cache 1.25 ms, without it 3.10 ms</desc>");
    expect(html).toContain("here: 75.0 %, 1.25 ms; break-even at 12.9 %</desc>");
    expect(html).toMatch(/<th scope="row">a read without it: a load<\/th><td>3\.10 ms<\/td>/);
    // The Content Security Policy would refuse them.
    expect(html).not.toMatch(/<script| style=| on\w+=/);
  });

  it("is a bar of the reads by who answered them, failed ones too, with nothing between its parts", () => {
    const parts = placesOf(shown(known), "part-");
    expect(parts).toHaveLength(4);
    parts.forEach(({ x }, index) => {
      const before = parts.slice(0, index).reduce((sum, { width }) => sum + width, 0);
      expect(x).toBeCloseTo(before, 1);
    });
    expect(parts.reduce((sum, { width }) => sum + width, 0)).toBeCloseTo(360, 1);
    expect(parts[3]?.width).toBeCloseTo(3.6, 1);
  });

  it("is the longer of two bars for what takes longer", () => {
    const [withCache, without] = placesOf(shown(known), "bar-");
    expect(without?.width).toBe(360);
    expect(withCache?.width).toBeCloseTo((360 * 1.25) / 3.1, 1);
  });

  it("leaves out what is not known", () => {
    expect(shown(nothing)).toContain("Nothing has been read yet.");
    expect(shown(nothing)).not.toContain("<svg");
    const withoutLoads = {
      ...nothing,
      reads: 5,
      readMs: 0.4,
      hitRate: 1,
      answeredBy: { near: 0, shared: 1, source: 0 },
    };
    const html = shown(withoutLoads);
    expect(html.match(/<svg/g)).toHaveLength(1);
    expect(html).not.toMatch(/NaN|null|undefined|Infinity/);
  });

  it("says so where no hit rate breaks even", () => {
    const html = shown({ ...known, verdict: "costs", breakEvenHitRate: 2, tripMs: 6.2, readMs: 7 });
    expect(html).toContain("no hit rate breaks even");
    expect(html).not.toContain('<circle class="break-even"');
  });

  it("says what near copies bring, where there are any", () => {
    const near = {
      verdict: "pays",
      hits: 1_234,
      savedMs: 617,
      writes: 12,
      paidMs: 30,
      breakEvenHitsPerWrite: 5,
    } as const;
    const html = shown({ ...known, near });
    for (const part of ["reads from memory", "1,234", "617.0 ms", "30.0 ms", "5.00"]) expect(html).toContain(part);
    expect(shown(known)).not.toContain("reads from memory");
  });

  it("is drawn on the sheet, whatever the times are", () => {
    for (const [readMs, loadMs, tripMs] of [
      [0, 0.001, 0.0004],
      [2_000, 1, 0.4],
      [0.05, 1_900, 250],
    ] as const) {
      const html = shown({ ...known, readMs, loadMs, tripMs, breakEvenHitRate: tripMs / loadMs });
      expect(html).not.toMatch(/NaN|Infinity/);
      const heights = Array.from(html.matchAll(/(?:cy|y1|y2)="(-?[\d.]+)"/g), ([, y]) => Number(y));
      expect(Math.min(...heights)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...heights)).toBeLessThanOrEqual(212);
    }
  });
});

describe("a part of all", () => {
  it("is 100 % only if it is all", () => {
    expect([1, 999_999 / 1_000_000, 0.57, 0.0004, 0].map(percent)).toEqual([
      "100.0 %",
      "99.9 %",
      "57.0 %",
      "0.0 %",
      "0.0 %",
    ]);
  });
});
