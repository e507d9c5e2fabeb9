import fc from "fast-check";
import { expect, it } from "vitest";
import { absoluteEnd, cookieExpires, lastSeenAt, recordLifeMs, touchIsDue } from "../src/expiry.ts";

const hour = 3_600_000;
const life = 3_960_000; // 1.1 hours

it("S6: a record outlives the idle limit by a tenth", () => {
  expect(recordLifeMs(hour)).toBe(life);
});

it("S6: the absolute limit counts from the session's birth", () => {
  expect(absoluteEnd(3 * hour, 8 * hour)).toBe(11 * hour);
  expect(absoluteEnd(3 * hour, undefined)).toBeUndefined();
  expect(absoluteEnd(undefined, 8 * hour)).toBeUndefined();
});

it("S8: what is left of a record's life tells when it was last used", () => {
  expect(lastSeenAt(10 * hour, hour, life)).toBe(10 * hour);
  expect(lastSeenAt(10 * hour, hour, life - 5_000)).toBe(10 * hour - 5_000);
  expect(lastSeenAt(10 * hour, hour, undefined)).toBeUndefined();
});

it("S5: a use is recorded when the last one on record is a tenth of the idle limit old", () => {
  expect(touchIsDue(life, hour)).toBe(false);
  expect(touchIsDue(hour, hour)).toBe(false);
  expect(touchIsDue(hour - 1, hour)).toBe(true);
});

it("S6: nobody is ended within the idle limit of a use, and everybody by 1.1 times it", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: hour }), { maxLength: 50 }), (gaps) => {
      let recorded = recordLifeMs(hour); // what the record has left
      for (const gap of gaps) {
        recorded -= gap;
        expect(recorded).toBeGreaterThanOrEqual(0);
        if (touchIsDue(recorded, hour)) recorded = recordLifeMs(hour);
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
