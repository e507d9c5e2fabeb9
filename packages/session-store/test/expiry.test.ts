import fc from "fast-check";
import { expect, it } from "vitest";
import { cookieExpires, recordLifeMs, touchIsDue } from "../src/expiry.ts";

const hour = 3_600_000;
const life = 3_960_000; // 1.1 hours
const lifetime = { now: 10 * hour, created: 10 * hour, idleMs: hour, absoluteMs: undefined };

it("S6: a record outlives the idle limit by a tenth", () => {
  expect(recordLifeMs(lifetime)).toBe(life);
});

it("S6: the absolute limit counts from the session's birth", () => {
  expect(recordLifeMs({ ...lifetime, absoluteMs: 8 * hour })).toBe(life);
  expect(recordLifeMs({ ...lifetime, created: 3 * hour, absoluteMs: 8 * hour })).toBe(hour);
  expect(recordLifeMs({ ...lifetime, created: 2 * hour, absoluteMs: 8 * hour })).toBe(0);
});

it("S5: a use is recorded when the last one on record is a tenth of the idle limit old", () => {
  expect(touchIsDue(life, lifetime)).toBe(false);
  expect(touchIsDue(hour, lifetime)).toBe(false);
  expect(touchIsDue(hour - 1, lifetime)).toBe(true);
});

it("S5: nothing is recorded where only the absolute limit is left", () => {
  expect(touchIsDue(hour / 2, { ...lifetime, created: 2.5 * hour, absoluteMs: 8 * hour })).toBe(false);
});

it("S6: nobody is ended within the idle limit of a use, and everybody by 1.1 times it", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: hour }), { maxLength: 50 }), (gaps) => {
      let recorded = recordLifeMs(lifetime); // what the record has left
      for (const gap of gaps) {
        recorded -= gap;
        expect(recorded).toBeGreaterThanOrEqual(0);
        if (touchIsDue(recorded, lifetime)) recorded = recordLifeMs(lifetime);
        expect(recorded).toBeGreaterThanOrEqual(hour);
        expect(recorded).toBeLessThanOrEqual(life);
      }
    }),
  );
});

it("S6: the cookie lives as long as the record, and at most its maxAge", () => {
  expect(cookieExpires(0, hour, life)).toBe(new Date(hour).toISOString());
  expect(cookieExpires(0, hour, 500)).toBe(new Date(500).toISOString());
  expect(cookieExpires(0, hour, undefined)).toBe(new Date(hour).toISOString());
});
