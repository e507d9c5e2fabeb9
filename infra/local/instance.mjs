// One running instance a folder, and what to do with the remains of one that was killed.
import { createHash } from "node:crypto";
import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
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
  const lock = await takeLock(folder);
  const before = readNote(file);
  if (lock === undefined) {
    const who = before === undefined ? "" : ` (process ${before.owner.pid})`;
    throw new Error(`Lockstep already runs in ${folder}${who}: stop that one first.`);
  }
  await stopLeftovers(before?.parts ?? []);
  const owner = identityOf({ name: "npm run up", pid: process.pid });
  /** @type {Identity[]} */
  const parts = [];
  const write = () => {
    // Renamed into place, so that nobody reads half a note.
    writeFileSync(`${file}.new`, JSON.stringify({ owner, parts }));
    renameSync(`${file}.new`, file);
  };
  write();
  return {
    note: (part) => {
      parts.push(identityOf(part));
      write();
    },
    release: () => {
      rmSync(file, { force: true });
      lock.close();
    },
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
 * A name that one process can hold at a time, and that the kernel frees when the process ends, however it ends: an abstract
 * socket (unix(7)). A lock file would have to be taken from the dead, which two may do at once.
 *
 * @param {string} folder
 * @returns {Promise<import("node:net").Server | undefined>} nothing if another process holds it
 */
function takeLock(folder) {
  const name = createHash("sha256").update(realpathSync(folder)).digest("hex");
  const server = createServer((socket) => socket.destroy()).unref();
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      if ("code" in error && error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(`\0lockstep-${name}`, () => resolve(server));
  });
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
