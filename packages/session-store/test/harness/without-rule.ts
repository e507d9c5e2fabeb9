import { expect } from "vitest";
import { type Cut, copyWithoutRule } from "../../../redis-kit/test/harness/without-rule.ts";
import type { createSessions } from "../../src/index.ts";

export type Create = typeof createSessions;

/** A rule of the code, how it is cut out, and what is seen then. */
export interface Rule extends Cut {
  readonly rule: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (create: Create) => Promise<number>;
}

/** Expects that the rule is missed where it is cut out. */
export async function expectMissed(rule: Rule): Promise<void> {
  const folder = await copyWithoutRule("session-store", rule);
  const { createSessions } = (await import(new URL("index.ts", folder).href)) as { createSessions: Create };
  expect(await rule.violations(createSessions)).toBeGreaterThan(0);
}

/** Expects that it is not broken where it is not. */
export async function expectKept({ violations }: Rule): Promise<void> {
  const { createSessions } = await import("../../src/index.ts");
  expect(await violations(createSessions)).toBe(0);
}
