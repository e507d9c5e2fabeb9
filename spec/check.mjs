// npm run spec: Spin searches the model of the coherence protocol. Whole, it must hold in every state that can be reached;
// with any one clause left out, the search must find what goes wrong.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { prepareForModel } from "../infra/local/prerequisites.mjs";
import { messageOf } from "../infra/local/progress.mjs";
import { bitstateRuns, runs } from "./runs.mjs";
import { model, withVerifier } from "./search.mjs";

/**
 * @typedef {import("./runs.mjs").Run} Run
 * @typedef {import("./search.mjs").Findings} Findings
 * @typedef {{ passed: boolean, verdict: string }} Judgement
 */

const help = `npm run spec [-- <option>]

Checks the model of the coherence protocol, spec/coherence.pml, in every state within its bounds.

  --only <name>    one run, or a mutant in each kind; a run is called cache, sessions or cache/NO_WAIT
  --trail <name>   the steps by which a run arrives at its error
  --bitstate       three members: too many states for all of them, so as many as the time allows
  --minutes <n>    how long a search may take
  --help           print this
`;

/** As many searches at a time, because each keeps a processor and some gigabytes busy. */
const searchesAtOnce = 2;

/** Aborted with the reason why everything ends early. */
const ending = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => ending.abort(new Error("Interrupted.")));

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  ending.abort(error); // what still runs beside the run that failed; no effect after Ctrl-C
  console.error(messageOf(ending.signal.reason));
  process.exitCode = 1;
}

/** @returns {Promise<boolean>} whether everything is as it must be */
async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(help);
    return true;
  }
  requireRunsForMutants();
  await prepareForModel(ending.signal);
  const within = (/** @type {readonly Run[]} */ some) =>
    some.map((run) => (options.minutes === undefined ? run : { ...run, minutes: options.minutes }));
  if (options.trail !== undefined) return tellStory(within(named(options.trail)));
  if (options.bitstate) return searchThreeMembers(within(bitstateRuns));
  const chosen = options.only === undefined ? runs : named(options.only);
  return searchAll(within(chosen), { report: options.only === undefined });
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        trail: { type: "string" },
        bitstate: { type: "boolean", default: false },
        minutes: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
    if (minutes !== undefined && !(Number.isInteger(minutes) && minutes > 0)) {
      throw new Error(`--minutes must be a whole number, not "${values.minutes}".`);
    }
    return { ...values, minutes };
  } catch (error) {
    throw new Error(`${messageOf(error)}\n\n${help}`, { cause: error });
  }
}

/** A mutant that one side forgets would be a clause that nothing checks, or a check of nothing. */
function requireRunsForMutants() {
  const inModel = new Set(readFileSync(model, "utf8").match(/MUTANT_\w*\w/g));
  const inRuns = new Set(runs.flatMap(({ defines }) => defines.filter((define) => define.startsWith("MUTANT_"))));
  const noRun = [...inModel].filter((mutant) => !inRuns.has(mutant));
  const unknown = [...inRuns].filter((mutant) => !inModel.has(mutant));
  if (noRun.length > 0)
    throw new Error(`In spec/coherence.pml, but without a run in spec/runs.mjs: ${noRun.join(", ")}`);
  if (unknown.length > 0) throw new Error(`In spec/runs.mjs, but not in spec/coherence.pml: ${unknown.join(", ")}`);
}

/** @param {string} name @returns {readonly Run[]} */
function named(name) {
  const found = runs.filter((run) => run.name === name || run.name.endsWith(`/${name}`));
  if (found.length > 0) return found;
  throw new Error(`There is no run called ${name}. There are:\n  ${runs.map((run) => run.name).join("\n  ")}`);
}

/**
 * @param {readonly Run[]} chosen
 * @param {{ report: boolean }} options
 */
async function searchAll(chosen, { report }) {
  console.log("One key, every state that can be reached.");
  const judgements = await inTurns(chosen, async (run) => {
    const findings = await withVerifier(run, verifierOptions(false), ({ search }) => search());
    const judgement = judge(run, findings);
    printLine(run, findings, judgement);
    return judgement;
  });
  const passed = judgements.filter((judgement) => judgement.passed).length;
  const failed = judgements.length - passed;
  console.log(`${passed} as they must be, ${failed} not.`);
  if (report) writeReport({ passed, failed });
  return failed === 0;
}

/** @param {readonly Run[]} chosen */
async function searchThreeMembers(chosen) {
  console.log("A sample of the states of one key. What it does not visit it says nothing about.");
  const errors = await inTurns(chosen, async (run) => {
    const findings = await withVerifier(run, verifierOptions(true), ({ search }) => search());
    printLine(run, findings, { passed: findings.error === undefined, verdict: findings.error ?? "no error seen" });
    console.log(`    ${coverage(findings)}`);
    return findings.error;
  });
  return errors.every((error) => error === undefined);
}

/** @param {readonly Run[]} chosen */
async function tellStory(chosen) {
  for (const run of chosen) {
    await withVerifier(run, verifierOptions(false), async ({ search, story }) => {
      const { error } = await search();
      const lines = error === undefined ? ["No error was found."] : await story();
      console.log([run.name, ...lines].join("\n  "));
    });
  }
  return true;
}

/** @param {boolean} bitstate */
function verifierOptions(bitstate) {
  return { bitstate, signal: ending.signal };
}

/**
 * @param {Run} run
 * @param {Findings} findings
 * @returns {Judgement}
 */
function judge({ without, property }, { error, stoppedBy }) {
  if (without === undefined) {
    if (error !== undefined) return { passed: false, verdict: `broken: ${error}` };
    if (stoppedBy !== undefined) return { passed: false, verdict: `not decided, stopped by ${stoppedBy}` };
    return { passed: true, verdict: "holds" };
  }
  if (error?.startsWith(property === "liveness" ? "acceptance cycle" : "assertion violated")) {
    return { passed: true, verdict: "found" };
  }
  if (error !== undefined) return { passed: false, verdict: `another error than its own: ${error}` };
  const why = stoppedBy === undefined ? "the model holds without it" : `stopped by ${stoppedBy}`;
  return { passed: false, verdict: `not found (${without}): ${why}` };
}

/**
 * @param {Run} run
 * @param {Findings} findings
 * @param {Judgement} judgement
 */
function printLine({ name, bounds }, { states, depth, seconds, memoryMb }, { passed, verdict }) {
  const columns = [
    (passed ? verdict : "FAILED").padEnd(14),
    name.padEnd(40),
    `${bounds.members} members, ${bounds.writers} writers, ${bounds.faults} faults`,
    `${states.toLocaleString("en")} states`.padStart(20),
    `depth ${depth}`.padStart(14),
    `${seconds.toFixed(1)} s`.padStart(9),
    `${Math.round(memoryMb)} MB`.padStart(9),
  ];
  console.log(`  ${columns.join("")}${passed ? "" : `\n    ${name}: ${verdict}`}`);
}

/** @param {Findings} findings of a bitstate search */
function coverage({ stoppedBy, hashFactor }) {
  const end = stoppedBy === undefined ? "It ran to its end" : `Stopped by ${stoppedBy}`;
  return `${end}, hash factor ${hashFactor} (Spin: above 100, hardly a state was taken for another that it had visited).`;
}

/**
 * Works on a few at a time, in their order; the first error ends it.
 *
 * @template T, R
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<R>} work
 * @returns {Promise<R[]>}
 */
async function inTurns(items, work) {
  const queue = items.values();
  /** @type {R[]} */
  const results = [];
  const takeTurns = async () => {
    for (const item of queue) results.push(await work(item));
  };
  await Promise.all(Array.from({ length: searchesAtOnce }, takeTurns));
  return results;
}

/** @param {{ passed: number, failed: number }} counts for the totals of a whole run */
function writeReport(counts) {
  const folder = fileURLToPath(new URL("../.lockstep/report/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "spec.json"), JSON.stringify(counts));
}
