// npm run up: from a fresh clone to three web servers behind nginx, and to an orderly end.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { claim } from "./instance.mjs";
import { migrate, startDatabase, startNginx, startWeb } from "./parts.mjs";
import { prepare } from "./prerequisites.mjs";
import { describeEnd, freePort, portInUse, reservePorts } from "./processes.mjs";
import { messageOf, step } from "./progress.mjs";
import { readSettings } from "./settings.mjs";
import { startStores } from "./stores.mjs";

/** @typedef {import("./settings.mjs").Settings} Settings */

/** npm passes Ctrl-C on to us and the terminal sends it as well: what follows the first so closely is the same key press. */
const echoMs = 1000;
/** How long a member of a set of servers stays away when it has ended: long enough to see the others do without it. */
const absenceMs = 5_000;
/** How long a server of a set is silent before the others think it gone. */
const silenceMs = 2_000;

/** @type {import("./processes.mjs").ProcessHandle[][]} what was started; the parts of a stage start and stop together */
const stages = [];
/** Aborted with an Error when a part ends by itself, with "asked" when somebody wants the end. */
const ending = new AbortController();
/** @type {Awaited<ReturnType<typeof claim>> | undefined} */
let instance;

process.exit(await main());

/** @returns {Promise<number>} the exit code */
async function main() {
  try {
    const settings = readSettings();
    if (settings === undefined) return 0;
    endOnSignals();
    mkdirSync(settings.data, { recursive: true, mode: 0o700 });
    instance = await claim(settings.data);
    await requirePorts(settings);
    clearFolder(settings);
    await prepare({ memcached: settings.topology === "memcached", signal: ending.signal });
    await startAll(settings);
    console.log("Ctrl-C stops it.");
    console.log(`Lockstep is up: http://localhost:${settings.port}`);
    await new Promise((resolve) => ending.signal.addEventListener("abort", resolve));
    throw ending.signal.reason;
  } catch (error) {
    if (ending.signal.reason === "asked") return 0;
    console.error(messageOf(error));
    return 1;
  } finally {
    for (const stage of stages.reverse()) await Promise.all(stage.map((part) => part.stop()));
    instance?.release();
  }
}

function endOnSignals() {
  /** @type {number | undefined} */
  let firstAt;
  const end = () => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      console.log("\nStopping …");
      ending.abort("asked");
    } else if (performance.now() - firstAt > echoMs) {
      for (const part of stages.flat()) part.kill("SIGKILL");
      instance?.release();
      process.exit(1);
    }
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, end);
  // A terminal that was closed can't be written to, and the parts still have to be stopped.
  process.stdout.on("error", () => {});
}

/** @param {Settings} settings */
async function requirePorts({ port, servers }) {
  const wanted = servers.map((server) => ({ port: server.port, variable: "LOCKSTEP_WEB_PORT" }));
  for (const { port: taken, variable } of [{ port, variable: "LOCKSTEP_PORT" }, ...wanted]) {
    if (await portInUse(taken)) {
      throw new Error(`Port ${taken} is already in use: free it, or choose another with ${variable}.`);
    }
  }
}

/** @param {Settings} settings */
function clearFolder({ data, fresh }) {
  // A set of servers starts empty in any case.
  const ours = ["logs", ...(fresh ? ["redis-state", "redis-cache", "database", "nginx", "session-secret"] : [])];
  for (const name of ours) rmSync(join(data, name), { recursive: true, force: true });
  mkdirSync(join(data, "logs"));
}

/** @param {Settings} settings */
async function startAll({ data, port, servers, topology }) {
  const logFile = (/** @type {string} */ name) => join(data, "logs", `${name}.log`);
  const supervise = (/** @type {string} */ name) => ({ logFile: logFile(name), onSpawn: remember, onExit: endEarly });
  /**
   * @param {string} name
   * @param {(supervision: import("./processes.mjs").Supervision) => Promise<import("./parts.mjs").Part>} work
   */
  const start = (name, work) =>
    step(
      name,
      () => work(supervise(name)),
      ({ url }) => url,
    );

  reservePorts([port, ...servers.map((server) => server.port)]);
  const databasePort = await freePort();
  stages.push([]);
  const { superviseMember, keep } = membership(logFile);
  const stores = startStores[topology]({ directory: data, silenceMs, step, supervise, superviseMember });
  const database = start("database", (supervision) =>
    startDatabase({ port: databasePort, directory: join(data, "database") }, supervision),
  );
  await settled([stores, database]);

  const { stateUrl, cacheUrl, state, cache, sentinels } = await stores;
  keep([...state, ...cache, ...sentinels]);
  const databaseUrl = (await database).url;
  await step(
    "migrations",
    () => migrate({ databaseUrl }, { logFile: logFile("migrations") }),
    () => "done",
  );

  const env = {
    HOST: "127.0.0.1",
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: "1",
    STATE_REDIS_URL: stateUrl,
    CACHE_URL: cacheUrl,
    SESSION_SECRET: sessionSecret(data),
    NEAR_COPIES: process.env.NEAR_COPIES ?? "on",
  };
  stages.push([]);
  await settled(
    servers.map((server) => start(server.name, (supervision) => startWeb({ ...server, env }, supervision))),
  );

  stages.push([]);
  const upstream = servers.map((server) => ({ host: "127.0.0.1", port: server.port }));
  await settled([
    start("nginx", (supervision) =>
      startNginx({ port, servers: upstream, directory: join(data, "nginx") }, supervision),
    ),
  ]);
}

/**
 * Looks after servers whose set goes on without one of them: it is told when one ends, and started again.
 *
 * @param {(name: string) => string} logFile
 * @returns {{ superviseMember: import("./redis-sets.mjs").Supervise, keep: (nodes: readonly import("./redis-sets.mjs").Node[]) => void }}
 */
function membership(logFile) {
  /** @type {Map<string, import("./redis-sets.mjs").Node>} */
  const members = new Map();
  const startAgain = async (/** @type {string} */ name) => {
    if (ending.signal.aborted) return;
    try {
      await members.get(name)?.start();
      console.log(`${name} runs again.`);
    } catch (error) {
      ending.abort(error);
    }
  };
  return {
    superviseMember: (name) => ({
      logFile: logFile(name),
      onSpawn: remember,
      onExit: ({ signal, code }) => {
        console.log(`${name} ended (${signal ?? code}). It is started again in ${absenceMs / 1_000} s.`);
        setTimeout(() => void startAgain(name), absenceMs);
      },
    }),
    keep: (nodes) => {
      for (const node of nodes) {
        members.set(node.name, node);
        node.admin.disconnect();
      }
    },
  };
}

/**
 * Waits for all, also when one fails: a part that is born after the others were stopped would stay.
 *
 * @param {Promise<unknown>[]} starts
 */
async function settled(starts) {
  const results = await Promise.allSettled(starts);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  ending.signal.throwIfAborted();
}

/** @param {import("./processes.mjs").ProcessHandle} part */
function remember(part) {
  stages.at(-1)?.push(part);
  instance?.note(part);
}

/**
 * @param {import("./processes.mjs").Exit} exit
 * @param {import("./processes.mjs").ProcessHandle} part
 */
function endEarly(exit, part) {
  ending.abort(new Error(`${part.name} ${describeEnd(exit, part.output())}`));
}

/**
 * @param {string} data
 * @returns {string} the same at every start, so that those who are signed in stay signed in
 */
function sessionSecret(data) {
  const file = join(data, "session-secret");
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600 });
  return readFileSync(file, "utf8");
}
