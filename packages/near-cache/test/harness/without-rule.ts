import { expect } from "vitest";
import type { Copies } from "@lockstep/redis-kit";
import { type Cut, copyWithoutRule } from "../../../redis-kit/test/harness/without-rule.ts";
import type { joinNearCache } from "../../src/index.ts";
import type { GroupScripts } from "../../src/scripts.ts";

/** The package as it is, or a copy of it with a rule cut out. */
export interface Parts {
  readonly join: typeof joinNearCache;
  readonly Store: typeof Copies;
  readonly Scripts: typeof GroupScripts;
}

/** A rule of the code, how it is cut out, and what is seen then. */
export interface Rule extends Cut {
  readonly rule: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (parts: Parts) => Promise<number>;
}

/** Expects that the rule is missed where it is cut out. */
export async function expectMissed(rule: Rule): Promise<void> {
  const folder = await copyWithoutRule("near-cache", rule);
  expect(await rule.violations(await partsOf(folder, "../../redis-kit/src/"))).toBeGreaterThan(0);
}

/** Expects that it is not broken where it is not. */
export async function expectKept({ violations }: Rule): Promise<void> {
  const folder = new URL("../../src/", import.meta.url).href;
  expect(await violations(await partsOf(folder, "../../redis-kit/src/"))).toBe(0);
}

async function partsOf(folder: string, kit: string): Promise<Parts> {
  const [index, scripts, copies] = (await Promise.all([
    import(new URL("index.ts", folder).href),
    import(new URL("scripts.ts", folder).href),
    import(new URL(`${kit}copies.ts`, folder).href),
  ])) as [
    typeof import("../../src/index.ts"),
    typeof import("../../src/scripts.ts"),
    { readonly Copies: typeof Copies },
  ];
  return { join: index.joinNearCache, Store: copies.Copies, Scripts: scripts.GroupScripts };
}
