import { expect } from "vitest";
import { type Cut, copyWithoutRule } from "../../../redis-kit/test/harness/without-rule.ts";
import type { createCache } from "../../src/index.ts";

export type Create = typeof createCache;

/** A rule of the code, how it is cut out, and what is seen then. */
export interface Rule extends Cut {
  readonly rule: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (create: Create) => Promise<number>;
}

/** Expects that the rule is missed where it is cut out. */
export async function expectMissed({ name, file, cut, instead, violations }: Rule): Promise<void> {
  const { createCache } = await withoutRule(name, { file, cut, instead });
  expect(await violations(createCache)).toBeGreaterThan(0);
}

/** Expects that it is not broken where it is not. */
export async function expectKept({ violations }: Rule): Promise<void> {
  const { createCache } = await import("../../src/index.ts");
  expect(await violations(createCache)).toBe(0);
}

/** Loads a copy of this package in which a rule is cut out. @throws {Error} if the cut no longer applies */
export async function withoutRule(name: string, cut: Omit<Cut, "name">): Promise<typeof import("../../src/index.ts")> {
  const folder = await copyWithoutRule("cache", { name, ...cut });
  return (await import(new URL("index.ts", folder).href)) as typeof import("../../src/index.ts");
}
