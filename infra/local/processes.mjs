// Child processes that end when they should: started and awaited until ready, stopped in bounded time, never left behind.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, createWriteStream } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

const maxOutputCharacters = 64 * 1024;
/** In messages: enough to hold a compiler's error, little enough to fit a screen. */
const maxOutputLines = 30;
const readyPollMs = 50;
const defaultReadyTimeoutMs = 30_000;
/** Longer than the ten seconds in which a web server finishes its requests. */
const stopTimeoutMs = 12_000;

/**
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null }} Exit
 *
 * @typedef {object} ProcessHandle
 * @property {string} name
 * @property {number} pid also the id of its process group
 * @property {() => Promise<void>} stop SIGTERM, and SIGKILL if it still runs after 12 s; resolves once it is gone
 * @property {(signal: NodeJS.Signals) => void} kill sends a signal to it and to what it started; nothing if it is gone
 * @property {Promise<Exit>} exited resolves when it ends, for whatever reason
 * @property {() => string} output the last 64 KiB of what it wrote to stdout and stderr
 *
 * @typedef {object} Supervision what the one who starts a process may want to know about it
 * @property {(process: ProcessHandle) => void} [onSpawn] called at once, before it is ready
 * @property {(exit: Exit, process: ProcessHandle) => void} [onExit] called if it ends after it was ready and unasked: neither `stop` nor `kill` was called
 * @property {string | undefined} [logFile] its output is appended here too
 * @property {Record<string, string | undefined>} [env] added to its environment
 *
 * @typedef {object} Command
 * @property {string} name how messages call it
 * @property {string} command a path, or a name looked up like `findCommand` does
 * @property {readonly string[]} args
 * @property {Record<string, string | undefined>} [env] added to this process's environment
 * @property {string} [cwd]
 */

/**
 * Starts a process in a process group of its own, so that Ctrl-C reaches only us and we decide the order of the ends.
 *
 * @param {Command & Supervision & { ready: RegExp | (() => Promise<boolean>), readyTimeoutMs?: number, remindMs?: number }} options
 *   `ready`: what its output says, or a condition polled, once it is ready; `remindMs`: how often SIGTERM is sent again to one
 *   that may forget it
 * @returns {Promise<ProcessHandle>} once it is ready
 * @throws {Error} with its last output, if it ends or the time is up before; it is gone then
 */
export async function startProcess(options) {
  const { child, output } = spawnCommand(options, { detached: true });
  let asked = false;
  let ready = false;

  const pid = await pidOf(child, options.name);
  /** @type {ProcessHandle["exited"]} */
  const exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });

  /** @type {ProcessHandle} */
  const handle = {
    name: options.name,
    pid,
    exited,
    output,
    kill: (signal) => {
      asked = true;
      signalGroup(pid, signal);
    },
    stop: async () => {
      asked = true;
      child.kill("SIGTERM");
      const { remindMs } = options;
      const reminding = remindMs === undefined ? undefined : setInterval(() => child.kill("SIGTERM"), remindMs);
      const overdue = setTimeout(() => signalGroup(pid, "SIGKILL"), stopTimeoutMs);
      await exited;
      clearTimeout(overdue);
      clearInterval(reminding);
    },
  };
  void exited.then((exit) => {
    signalGroup(pid, "SIGKILL"); // the workers that a killed nginx leaves, for example
    if (ready && !asked) options.onExit?.(exit, handle);
  });
  options.onSpawn?.(handle);

  await untilReady(handle, options.ready, options.readyTimeoutMs ?? defaultReadyTimeoutMs);
  ready = true;
  return handle;
}

/**
 * Runs a command to its end.
 *
 * @param {Command & Pick<Supervision, "logFile"> & { signal?: AbortSignal }} options `signal`: ends it early, by SIGTERM
 * @returns {Promise<string>} the last 64 KiB of what it wrote to stdout and stderr
 * @throws {Error} with its last output, unless it exits with 0
 */
export async function runCommand(options) {
  options.signal?.throwIfAborted();
  const { child, output } = spawnCommand(options, { detached: false });
  await pidOf(child, options.name);
  const end = () => child.kill("SIGTERM");
  options.signal?.addEventListener("abort", end);
  const [code, signal] = await once(child, "close");
  options.signal?.removeEventListener("abort", end);
  if (code !== 0) throw new Error(`${options.name} ${describeEnd({ code, signal }, output())}`);
  return output();
}

/**
 * @param {Exit} exit
 * @param {string} output
 * @returns {string} such as "ended with code 1. Its last output: …"
 */
export function describeEnd(exit, output) {
  const how = exit.signal === null ? `ended with code ${exit.code}` : `was ended by ${exit.signal}`;
  return `${how}. ${describeOutput(output)}`;
}

/**
 * @param {string} name a command's name
 * @returns {string | undefined} its path; the folders of administrators count, though a user's PATH may lack them
 */
export function findCommand(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  return folders
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/**
 * Signals a process that `startProcess` started, and all that it started itself; nothing if they are gone.
 *
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
export function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
  }
}

/** Ports handed out are not handed out again, even if nobody listens there yet. */
const portsGiven = new Set();

/** @param {readonly number[]} ports meant for somebody who does not listen yet: none of them is handed out */
export function reservePorts(ports) {
  for (const port of ports) portsGiven.add(port);
}

/**
 * @returns {Promise<number>} a port on which nobody listens. It is below the range from which the kernel takes ports for
 *   outgoing connections, so that a server can be stopped and started again on the same one.
 */
export async function freePort() {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (portsGiven.has(port) || (await portInUse(port))) continue;
    portsGiven.add(port);
    return port;
  }
  throw new Error("No free port was found between 20000 and 32000.");
}

/**
 * @param {number} port
 * @returns {Promise<boolean>} whether someone listens there on an address that `localhost` may mean
 */
export async function portInUse(port) {
  return (await addressInUse("127.0.0.1", port)) || (await addressInUse("::1", port));
}

/**
 * @param {string} host
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function addressInUse(host, port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (/** @type {NodeJS.ErrnoException} */ error) => {
      if (error.code === "EADDRINUSE") resolve(true);
      else if (error.code === "EADDRNOTAVAIL" || error.code === "EAFNOSUPPORT") resolve(false);
      else reject(new Error(`Port ${port} cannot be used: ${error.message}`, { cause: error }));
    });
    server.listen({ host, port }, () => server.close(() => resolve(false)));
  });
}

/**
 * @param {Command & Pick<Supervision, "logFile">} options
 * @param {{ detached: boolean }} group
 */
function spawnCommand({ name, command, args, env, cwd, logFile }, { detached }) {
  const path = command.includes("/") ? command : findCommand(command);
  if (path === undefined) throw new Error(`${name} could not be started: ${command} is not installed.`);
  const [file, ...argv] = [...(detached ? endWithParent() : []), path, ...args];
  const child = spawn(/** @type {string} */ (file), argv, {
    detached,
    env: { ...process.env, ...env },
    stdio: [detached ? "ignore" : "inherit", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });

  const log = logFile === undefined ? undefined : createWriteStream(logFile, { flags: "a" });
  let tail = "";
  const keep = (/** @type {string} */ text) => {
    tail = (tail + text).slice(-maxOutputCharacters);
    log?.write(text);
  };
  child.stdout?.setEncoding("utf8").on("data", keep);
  child.stderr?.setEncoding("utf8").on("data", keep);
  child.once("close", () => log?.end());
  return { child, output: () => tail };
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @param {string} name
 * @returns {Promise<number>}
 */
async function pidOf(child, name) {
  if (child.pid !== undefined) return child.pid;
  const [error] = await once(child, "error");
  throw new Error(`${name} could not be started: ${error.message}`, { cause: error });
}

/** @type {string[] | undefined} */
let deathSignal;

/**
 * @returns {string[]} the command before a command by which Linux ends a process when its parent ends, even by SIGKILL;
 *   empty where there is none
 */
function endWithParent() {
  if (deathSignal === undefined) {
    const setpriv = findCommand("setpriv");
    const prefix = setpriv === undefined ? [] : [setpriv, "--pdeathsig", "SIGTERM"];
    const works = setpriv !== undefined && spawnSync(setpriv, [...prefix.slice(1), "true"]).status === 0;
    deathSignal = works ? prefix : [];
  }
  return deathSignal;
}

/**
 * @param {ProcessHandle} handle
 * @param {RegExp | (() => Promise<boolean>)} ready
 * @param {number} timeoutMs
 */
async function untilReady(handle, ready, timeoutMs) {
  const isReady = ready instanceof RegExp ? async () => ready.test(handle.output()) : ready;
  const deadline = performance.now() + timeoutMs;
  /** @type {Exit | undefined} */
  let exit;
  void handle.exited.then((ended) => (exit = ended));
  while (!(await isReady())) {
    if (exit !== undefined) throw new Error(`${handle.name} ${describeEnd(exit, handle.output())}`);
    if (performance.now() > deadline) {
      handle.kill("SIGKILL");
      await handle.exited;
      throw new Error(`${handle.name} was not ready after ${timeoutMs / 1000} s. ${describeOutput(handle.output())}`);
    }
    await delay(readyPollMs);
  }
}

/** @param {string} output */
function describeOutput(output) {
  const lastLines = output.trimEnd().split("\n").slice(-maxOutputLines).join("\n  ");
  return lastLines === "" ? "It wrote nothing." : `Its last output:\n  ${lastLines}`;
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
