// One running instance a folder, and what to do with the remains of one that was killed.
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { signalGroup } from "./processes.mjs";

/**
 * @typedef {object} Identity a pid alone may by now be somebody else's
 * @property {string} name
 * @property {number} pid
 * @property {string | undefined} startTime
 */

/** Longer than a part takes to stop. */
const leftoverTimeoutMs = 12_000;
const pollMs = 50;

/**
 * Claims a folder for this process, after stopping what a killed instance left running.
 *
 * @param {string} folder
 * @returns {Promise<{ note: (part: { name: string, pid: number }) => void, release: () => void }>} `note` remembers a part, so that it
 *   can be stopped by the next instance should this one be killed
 * @throws {Error} if another instance runs there
 */
export async function claim(folder) {
  const file = join(folder, "instance.json");
  const owner = identityOf({ name: "npm run up", pid: process.pid });
  /** @type {Identity[]} */
  const parts = [];
  while (!create(file, JSON.stringify({ owner, parts }))) {
    const before = readNote(file);
    if (before !== undefined && isRunning(before.owner)) {
      throw new Error(`Lockstep already runs in ${folder} (process ${before.owner.pid}): stop that one first.`);
    }
    // Whoever renames the note of a killed instance cleans up after it; anybody else meets the next note, or none.
    const mine = `${file}.${process.pid}`;
    if (!rename(file, mine)) continue;
    const taken = readNote(mine);
    if (taken !== undefined && isRunning(taken.owner)) {
      // Somebody was faster, and this is the new note.
      renameSync(mine, file);
      continue;
    }
    await stopLeftovers(taken?.parts ?? []);
    rmSync(mine, { force: true });
  }
  return {
    note: (part) => {
      parts.push(identityOf(part));
      // Renamed into place, so that nobody reads half a note.
      writeFileSync(`${file}.new`, JSON.stringify({ owner, parts }));
      renameSync(`${file}.new`, file);
    },
    release: () => rmSync(file, { force: true }),
  };
}

/**
 * @param {number} pid
 * @returns {string | undefined} when it started, in ticks since the boot; nothing if it has ended
 */
export function startTimeOf(pid) {
  try {
    // proc(5): the second field is the command in parentheses and may hold anything; state is the third field, the start time the 22nd.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/**
 * @param {string} file
 * @param {string} text
 * @returns {boolean} false if it is there already
 */
function create(file, text) {
  try {
    writeFileSync(file, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

/**
 * @param {string} from
 * @param {string} to
 * @returns {boolean} false if it is gone
 */
function rename(from, to) {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (isCode(error, "ENOENT")) return false;
    throw error;
  }
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function isCode(error, code) {
  return error instanceof Error && "code" in error && error.code === code;
}

/** @param {Identity[]} parts */
async function stopLeftovers(parts) {
  const deadline = Date.now() + leftoverTimeoutMs;
  for (const { pid } of parts.filter(isRunning)) signalGroup(pid, "SIGTERM");
  while (parts.some(isRunning) && Date.now() < deadline) await delay(pollMs);
  for (const { pid } of parts.filter(isRunning)) signalGroup(pid, "SIGKILL");
}

/**
 * @param {{ name: string, pid: number }} process
 * @returns {Identity}
 */
function identityOf({ name, pid }) {
  return { name, pid, startTime: startTimeOf(pid) };
}

/** @param {Identity} identity */
function isRunning({ pid, startTime }) {
  return startTime !== undefined && startTimeOf(pid) === startTime;
}

/**
 * @param {string} file
 * @returns {{ owner: Identity, parts: Identity[] } | undefined}
 */
function readNote(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}
