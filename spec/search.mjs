// One search of the model's states: Spin writes a verifier in C, gcc compiles it, and it visits the states.
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../infra/local/processes.mjs";

/** @typedef {import("./runs.mjs").Run} Run */

/**
 * @typedef {object} Findings
 * @property {string | undefined} error the first error, in the verifier's words
 * @property {"depth" | "memory" | "time" | "itself" | undefined} stoppedBy the limit that kept it from visiting every state
 * @property {number} states visited
 * @property {number} depth of the longest path followed, in steps
 * @property {number} seconds
 * @property {number} memoryMb
 * @property {number | undefined} hashFactor of a bitstate search: bits of memory a state; Spin trusts its coverage above 100
 *
 * @typedef {object} Verifier
 * @property {() => Promise<Findings>} search
 * @property {() => Promise<string[]>} story what the model prints along the path to the error that was found
 */

export const model = fileURLToPath(new URL("./coherence.pml", import.meta.url));
/** 2 GiB of bits, one to three of which stand for a state. */
const bitstateMemory = ["-w34"];

/**
 * Makes the verifier of a run in a folder of its own, which is gone afterwards.
 *
 * @template T
 * @param {Run} run
 * @param {{ bitstate: boolean, signal: AbortSignal }} options
 * @param {(verifier: Verifier) => Promise<T>} work
 * @returns {Promise<T>}
 * @throws {Error} saying what is wrong with the model
 */
export async function withVerifier(run, { bitstate, signal }, work) {
  const cwd = await mkdtemp(join(tmpdir(), "lockstep-spec-"));
  const tool = (/** @type {string} */ name, /** @type {string} */ command, /** @type {string[]} */ args) => {
    // The verifier's own limit of time lets it report what it has found until then; this one is for one that hangs.
    const overdue = AbortSignal.timeout((run.minutes + 1) * 60_000);
    return runCommand({
      name: `${name} for ${run.name}`,
      command,
      args,
      cwd,
      signal: AbortSignal.any([signal, overdue]),
    });
  };
  const liveness = run.property === "liveness";
  const flags = [
    ...run.compilerFlags,
    ...(liveness ? [] : ["-DSAFETY"]),
    bitstate ? "-DBITSTATE" : `-DMEMLIM=${run.memoryMb}`,
  ];
  const options = [
    `-Q${run.minutes}`,
    `-m${run.depth}`,
    ...run.options,
    ...(liveness ? ["-a", "-f"] : []),
    ...(bitstate ? bitstateMemory : []),
  ];
  try {
    // A copy, since the trail to an error is written beside the model.
    await copyFile(model, join(cwd, basename(model)));
    await tool("Spin", "spin", ["-a", ...definesOf(run), basename(model)]);
    // -w: warnings about code that Spin has written are nobody's to mend.
    await tool("gcc", "gcc", ["-O2", "-w", ...flags, "-o", "pan", "pan.c"]);
    return await work({
      search: async () => parseFindings(await tool("The verifier", "./pan", options)),
      story: async () => parseStory(await tool("The verifier", "./pan", ["-r", "-S"])),
    });
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

/** @param {Run} run */
function definesOf({ kind, bounds, property, defines }) {
  return [
    `KIND_${kind.toUpperCase()}`,
    ...(property === "liveness" ? ["LIVENESS"] : []),
    ...Object.entries(bounds).map(([name, value]) => `${name.toUpperCase()}=${value}`),
    ...defines,
  ].map((define) => `-D${define}`);
}

/**
 * @param {string} output of a search
 * @returns {Findings}
 * @throws {Error} if it is not the report of a search
 */
function parseFindings(output) {
  const number = (/** @type {RegExp} */ pattern) => {
    const match = pattern.exec(output);
    return match === null ? undefined : Number(match[1]);
  };
  const errors = number(/, errors: (\d+)$/m);
  const states = number(/^ *([\d.e+]+) states, stored/m);
  if (errors === undefined || states === undefined) throw new Error(`The verifier gave no report:\n${output}`);
  return {
    error: errors === 0 ? undefined : (/^pan:\d+: (.*)$/m.exec(output)?.[1] ?? "an error that it does not name"),
    stoppedBy: stoppedBy(output),
    states,
    depth: number(/depth reached (\d+)/) ?? 0,
    seconds: number(/elapsed time ([\d.e+]+) seconds/) ?? 0,
    memoryMb: number(/([\d.]+)\ttotal actual memory usage/) ?? 0,
    hashFactor: number(/hash factor: ([\d.e+]+)/),
  };
}

/** @param {string} output @returns {Findings["stoppedBy"]} */
function stoppedBy(output) {
  if (/^Time limit of /m.test(output)) return "time";
  if (/reached -DMEMLIM bound|out of memory/.test(output)) return "memory";
  // Said without the warning that the search was not completed.
  if (output.includes("max search depth too small")) return "depth";
  return output.includes("Search not completed") ? "itself" : undefined;
}

/** @param {string} output of a replay */
function parseStory(output) {
  // "MSC: " is how Spin knows the lines of a message sequence chart; "~G" begins those of its own about an LTL property.
  const lines = output.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => /^(MSC: (?!~G)|pan:\d+: |<<<<<START OF CYCLE)/.test(line))
    .map((line) => line.replace(/^MSC: /, ""));
}
