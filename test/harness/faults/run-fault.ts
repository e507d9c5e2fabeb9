import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../eventually.ts";
import { FaultProxy } from "../fault-proxy.ts";
import { type SessionStack, type Stack, type StackOptions, startStack } from "../stack.ts";
import type { Fault, FaultTopology } from "./fault.ts";
import { Load } from "./load.ts";
import { invariants, type Invariant } from "./tally.ts";

/** How long the load runs before the fault, and after all have recovered from it, in ms. */
const calmMs = 2_000;

/** How long recovery may take, in ms. */
const recoveryMs = 30_000;

/** The longest that a request may take, in ms, where a fault says nothing else. */
const usualBoundMs = 6_000;

/** What a fault came to. */
export interface FaultResult {
  readonly fault: string;
  readonly topology: FaultTopology;
  readonly product: "Lockstep" | "connect-redis";
  readonly requests: number;
  readonly failures: number;
  readonly unanswered: number;
  readonly longestMs: number;
  /** From the end of the fault to the last failure after it. */
  readonly recoveryMs: number;
  readonly checked: Readonly<Record<Invariant, number>>;
  readonly broken: Readonly<Record<Invariant, number>>;
  readonly seen: number;
  /** Of what is broken. */
  readonly examples: readonly string[];
}

/** Runs one fault under load. @throws Error if it did not happen, or nobody recovered from it */
export async function runFault(
  fault: Fault,
  run: { topology: FaultTopology; sessionStack: SessionStack; databaseUrl: string } & Partial<StackOptions>,
): Promise<FaultResult> {
  const databaseUrl = new URL(run.databaseUrl);
  const database = await FaultProxy.start(Number(databaseUrl.port));
  databaseUrl.port = `${database.port}`;
  const stack = await startStack({
    ...(run.sessionStack === "middleware" && { nearCopies: "on" }),
    ...fault.options,
    ...run,
    databaseUrl: databaseUrl.href,
  }).catch(async (error: unknown) => {
    await database.stop();
    throw error;
  });
  try {
    await untilWarm(stack);
    const load = await Load.start(stack, 6);
    try {
      await delay(calmMs);
      const { end, seen } = await fault.begin(stack, { database, tally: load.tally });
      await delay(fault.lastsMs);
      const seenTimes = await seen();
      await end?.();
      const endedAt = performance.now();
      if (seenTimes === 0) throw new Error(`The fault "${fault.name}" did not happen.`);
      const { tally } = load;
      await eventually(
        "nobody has met a failure for two seconds",
        () => performance.now() - Math.max(endedAt, tally.lastFailureAt) > calmMs,
        { withinMs: recoveryMs, everyMs: 100 },
      );
      await load.end();
      const { requests, failures, unanswered, longestMs, lastFailureAt, checked, broken, examples } = tally;
      if (invariants.some((each) => each !== "revived" && checked[each] === 0))
        throw new Error("Not all was looked at.");
      return {
        fault: fault.name,
        topology: run.topology,
        product: run.sessionStack === "middleware" ? "Lockstep" : "connect-redis",
        requests,
        failures,
        unanswered,
        longestMs,
        recoveryMs: Math.max(0, lastFailureAt - endedAt),
        checked,
        broken,
        seen: seenTimes,
        examples,
      };
    } catch (error) {
      await load.end().catch(() => undefined); // the first error says more
      const told = stack.servers.map((_, index) => stack.output(index + 1).slice(-1_000));
      throw new Error(`The fault "${fault.name}" was not got over. The servers wrote:\n${told.join("\n")}`, {
        cause: error,
      });
    }
  } finally {
    await stack.stop();
    await database.stop();
  }
}

/** What a fault has broken that it may not. */
export function violationsOf(
  { limits = {}, boundMs = usualBoundMs, isUnnoticed = false }: Fault,
  result: FaultResult,
): string[] {
  const broken = invariants.filter((each) => limits[each] === undefined && result.broken[each] > 0);
  const violations = broken.map((each) => `${each}: ${result.broken[each]} of ${result.checked[each]}`);
  if (isUnnoticed && result.failures > 0) violations.push(`${result.failures} requests failed`);
  if (result.longestMs > boundMs) violations.push(`a request took ${Math.round(result.longestMs)} ms`);
  return violations.length === 0 ? [] : [...violations, ...result.examples];
}

/** A Redis that has just started is trusted with entries and leases a few seconds later. */
export async function untilWarm(stack: Stack): Promise<void> {
  for (const server of stack.servers) {
    const ready = async () => (await fetch(`${server}/readyz`)).ok;
    await eventually("the server is ready", ready, { withinMs: 20_000, everyMs: 50 });
  }
}
