import { setTimeout as delay } from "node:timers/promises";
import { report } from "../cache/report.ts";
import { nowNs } from "./clock.ts";
import { Deployment, type DeploymentOptions } from "./deployment.ts";
import type { Fault } from "./faults.ts";
import { judge, type Verdict } from "./judge.ts";

export interface RunOptions extends DeploymentOptions {
  /** The run ends after the first round of all faults in which both are reached. */
  readonly minutes: number;
  readonly rounds: number;
  /** What goes wrong, one after the other. */
  readonly faults: (deployment: Deployment) => readonly Fault[];
  /** What passes undisturbed before each fault, and at the end. */
  readonly calmMs: number;
}

export interface RunResult extends Omit<Verdict, "wasWriting"> {
  readonly seconds: number;
  /** Which operations failed, and with which code → how often; those of killed processes are not known. */
  readonly failures: ReadonlyMap<string, number>;
  /** How often each fault has struck, and how often of that while a write was pending. */
  readonly strikes: ReadonlyMap<string, { readonly all: number; readonly counted: number }>;
}

/** What a run must have had, so that what it has found means something. */
export interface Floors {
  /** Of the reads. */
  readonly nearHitShare: number;
  /** Of all operations. */
  readonly writeShare: number;
  /** Of each fault, while a write was pending. */
  readonly strikes: number;
  readonly operations: number;
}

/** Runs a deployment under faults, and judges what its servers have noted. */
export async function runHistory(options: RunOptions): Promise<RunResult> {
  const deployment = await Deployment.start(options);
  try {
    const startNs = nowNs();
    const struck = await strikeInTurn(deployment, options);
    await deployment.finishAll();
    const seconds = (nowNs() - startNs) / 1e9;
    const { wasWriting, ...verdict } = await judge(deployment.histories, deployment.sourceHistory, startNs);
    const strikes = new Map<string, { all: number; counted: number }>();
    for (const { name, at } of struck) {
      const { all, counted } = strikes.get(name) ?? { all: 0, counted: 0 };
      strikes.set(name, { all: all + 1, counted: counted + (wasWriting(at) ? 1 : 0) });
    }
    return { ...verdict, seconds, failures: deployment.failures, strikes };
  } finally {
    await deployment.remove();
  }
}

/** @returns which fault has struck, and when, on the clock of {@link nowNs} */
async function strikeInTurn(
  deployment: Deployment,
  { minutes, rounds, faults, calmMs }: RunOptions,
): Promise<{ name: string; at: number }[]> {
  const all = faults(deployment);
  const struck: { name: string; at: number }[] = [];
  const endAt = performance.now() + minutes * 60_000;
  for (let round = 1; round <= rounds || performance.now() < endAt; round += 1) {
    await delay(calmMs);
    for (const { name, strike } of all) {
      await deployment.whenWriting();
      struck.push({ name, at: nowNs() });
      await strike();
      await delay(calmMs);
    }
  }
  return struck;
}

/** What a run lacks, in words; nothing: what it has found means something. */
export function shortfalls(result: RunResult, floors: Floors): string[] {
  const operations = result.reads + result.writes;
  const lacks = (what: string, has: number, needs: number) =>
    has < needs ? [`${what}: ${Number(has.toFixed(4))}, and ${needs} are needed`] : [];
  return [
    ...lacks("operations", operations, floors.operations),
    ...lacks("near hits of the reads", result.nearHits / result.reads, floors.nearHitShare),
    ...lacks("writes of the operations", result.writes / operations, floors.writeShare),
    ...[...result.strikes].flatMap(([name, { counted }]) => lacks(`${name}, while writing`, counted, floors.strikes)),
  ];
}

/** Prints a run, and keeps it in .lockstep/report. */
export async function reportRun(name: string, title: string, result: RunResult): Promise<void> {
  const operations = result.reads + result.writes;
  const share = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`;
  await report(name, {
    title,
    columns: ["", "count", "share"],
    rows: [
      ["operations", operations, `${Math.round(operations / result.seconds)} in a second`],
      ["writes", result.writes, share(result.writes, operations)],
      ["near hits", result.nearHits, `${share(result.nearHits, result.reads)} of the reads`],
      ["near hits while a write of the key was pending", result.nearHitsWhileWriting, ""],
      ["writes that took effect unanswered", result.unansweredWrites, ""],
      ...[...result.failures].map(([what, count]): [string, number, string] => [`failed ${what}`, count, ""]),
      ...[...result.strikes].map(([fault, { all, counted }]): [string, number, string] => [
        fault,
        counted,
        `of ${all}, while a write was pending`,
      ]),
      ["violations", result.violations, ""],
    ],
    details: [`in ${result.seconds.toFixed(0)} s`, ...result.details],
  });
}
