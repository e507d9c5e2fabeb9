import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addToCart, removeFromCart } from "../src/cart/cart.ts";
import { appearanceOf, setAppearance } from "../src/preferences/appearance.ts";
import { type Preferences, removePreference, setPreference } from "../src/preferences/preferences.ts";

describe("preferences", () => {
  test("a value of any JSON is kept as it is", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const preferences: Preferences = {};
        if (setPreference(preferences, { key: "any", value }).valid) {
          expect(JSON.stringify(preferences)).toBe(JSON.stringify({ any: value }));
        }
      }),
    );
  });

  test.for(["__proto__", "constructor", "prototype"])("%s is refused as a key, at any depth", (key) => {
    const preferences: Preferences = {};
    expect(setPreference(preferences, { key, value: 1 })).toMatchObject({
      valid: false,
      fields: { key: expect.any(String) as string },
    });
    const value: unknown = JSON.parse(`[{"${key}":{}}]`);
    expect(setPreference(preferences, { key: "deep", value })).toMatchObject({
      valid: false,
      fields: { value: expect.any(String) as string },
    });
    expect(removePreference(preferences, { key }).valid).toBe(false);
    expect(Object.keys(preferences)).toEqual([]);
  });

  test("a number that JSON can't hold is refused", () => {
    const value: unknown = JSON.parse("[1e400]");
    expect(setPreference({}, { key: "large", value }).valid).toBe(false);
  });

  test("a look is set whole or not at all", () => {
    const preferences: Preferences = {};
    for (const input of [{ theme: "dark" }, { theme: "evil", accent: "moss" }, {}, undefined, []]) {
      expect(setAppearance(preferences, input).valid).toBe(false);
    }
    expect(preferences).toEqual({});
    expect(setAppearance(preferences, { theme: "dark", accent: "moss" }).valid).toBe(true);
    expect(preferences).toEqual({ theme: "dark", accent: "moss" });
  });

  test("a value nested too deep is refused, and no stack overflows", () => {
    const value: unknown = JSON.parse("[".repeat(30_000) + "]".repeat(30_000));
    expect(setPreference({}, { key: "deep", value }).valid).toBe(false);
  });

  test("a value that does not fit any more is refused and changes nothing", () => {
    const preferences: Preferences = { small: 1 };
    expect(setPreference(preferences, { key: "large", value: "x".repeat(24 * 1_024) }).valid).toBe(false);
    expect(preferences).toEqual({ small: 1 });
  });

  test("removing what is not there is no mistake", () => {
    expect(removePreference({}, { key: "absent" }).valid).toBe(true);
  });

  test("only the looks that the stylesheet knows are used", () => {
    expect(appearanceOf({ theme: "dark", accent: "plum" })).toEqual({ theme: "dark", accent: "plum" });
    expect(appearanceOf({ theme: '"><script>', accent: { toString: "plum" } })).toEqual({
      theme: "system",
      accent: "ink",
    });
  });
});

describe("the cart", () => {
  test("items are trimmed and appended in place", () => {
    const cart = ["tea"];
    expect(addToCart(cart, { item: " cake " })).toEqual({ valid: true, value: cart });
    expect(cart).toEqual(["tea", "cake"]);
  });

  test.for([
    undefined,
    {},
    { item: 5 },
    { item: "  " },
    { item: "a\u0000b" },
    { item: "\ud800" },
    { item: "x".repeat(81) },
  ])("%o is refused", (input) => {
    const cart: string[] = [];
    expect(addToCart(cart, input)).toMatchObject({ valid: false, fields: { item: expect.any(String) as string } });
    expect(cart).toEqual([]);
  });

  test("holds at least 200 items of any length, and ends", () => {
    const cart: string[] = [];
    while (addToCart(cart, { item: "x".repeat(80) }).valid);
    expect(cart.length).toBeGreaterThanOrEqual(200);
    expect(Buffer.byteLength(JSON.stringify(cart))).toBeLessThanOrEqual(24 * 1_024);
  });

  test("one of several equal items is removed, and the rest keep their order", () => {
    const cart = ["tea", "cake", "tea"];
    removeFromCart(cart, "tea");
    removeFromCart(cart, "absent");
    expect(cart).toEqual(["cake", "tea"]);
  });
});
