import { expect, test } from "vitest";
import { growthOf } from "./harness/soak/growth.ts";

const bounds = [{ name: "heap", share: 0.1, plus: 2 }];
const series = (of: (at: number) => number) => Array.from({ length: 40 }, (_, at) => ({ heap: of(at) }));

test("a leak is growth, however slow beside the noise", () => {
  const noise = (at: number) => (at * 7) % 5;
  expect(
    growthOf(
      series((at) => 100 + at + noise(at)),
      bounds,
    ),
  ).toHaveLength(1);
  expect(
    growthOf(
      series((at) => 100 + noise(at)),
      bounds,
    ),
  ).toEqual([]);
});

test("what fills up at the beginning, what goes down, and a single peak are not", () => {
  expect(
    growthOf(
      series((at) => Math.min(100, 20 + at * 10)),
      bounds,
    ),
  ).toEqual([]);
  expect(
    growthOf(
      series((at) => 100 - at),
      bounds,
    ),
  ).toEqual([]);
  expect(
    growthOf(
      series((at) => (at === 38 ? 500 : 100)),
      bounds,
    ),
  ).toEqual([]);
});

test("of a few samples nothing is said", () => {
  expect(() => growthOf(series(() => 1).slice(0, 7), bounds)).toThrow(RangeError);
});
