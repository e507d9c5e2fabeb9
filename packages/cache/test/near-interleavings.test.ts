import { expect, it } from "vitest";
import { type Cut, copyWithoutRule } from "../../redis-kit/test/harness/without-rule.ts";
import { type Packages, checkInterleavings } from "./harness/near-interleavings.ts";

const timeout = 120_000;

it(
  "G1: with near copies a read never gives less than what was acknowledged, or read, before it began",
  { timeout },
  async () => {
    const nearHits = await checkInterleavings({}, 150);
    // Copies have to be there, and be served, for this to show anything.
    expect(nearHits).toBeGreaterThan(100);
  },
);

const cuts: readonly (Cut & { readonly rule: string; readonly of: "cache" | "near-cache" })[] = [
  {
    rule: "C3: a write waits until all have answered",
    of: "near-cache",
    name: "interleavings-no-wait",
    file: "src/revocations.ts",
    cut: "if (silent.length === 0)",
    instead: "if (silent.length >= 0)",
  },
  {
    rule: "C2: a write revokes at the others",
    of: "cache",
    name: "interleavings-not-asked",
    file: "src/others.ts",
    cut: "if (this.#near && joining) {",
    instead: "if (this.#near && joining && what === undefined) {",
  },
  {
    rule: "C4: begin drops the entry",
    of: "cache",
    name: "interleavings-entry-kept",
    file: "lua/begin.lua",
    cut: 'redis.call("DEL", KEYS[1])',
    instead: "",
  },
  {
    rule: "C5: what a read brings that a revocation has overtaken becomes no copy",
    of: "cache",
    name: "interleavings-reservation-ignored",
    file: "../redis-kit/src/copies.ts",
    cut: "!reservation.isVoid && ",
    instead: "",
  },
];

it.each(cuts)("a stale read is found without this rule: $rule", { timeout }, async ({ of, ...cut }) => {
  const folder = await copyWithoutRule(of, cut);
  const module = (await import(new URL("index.ts", folder).href)) as {
    createCache: NonNullable<Packages["create"]>;
    joinNearCache: NonNullable<Packages["join"]>;
  };
  const packages = of === "cache" ? { create: module.createCache } : { join: module.joinNearCache };
  await expect(checkInterleavings(packages, 2_000)).rejects.toThrow("Property failed");
});
