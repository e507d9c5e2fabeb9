// npm run test:compose: the containers of docker-compose.yml on a real engine of our own, and the tests that look at them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { prepareForContainers } from "../local/prerequisites.mjs";
import { freePort, runCommand } from "../local/processes.mjs";
import { messageOf, step } from "../local/progress.mjs";
import { provideBaseImages } from "./base-images.mjs";
import { freeSubnet, startEngine } from "./engine.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const secondTryMs = 2_000;
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => interrupted.abort(new Error("Interrupted.")));

try {
  process.exitCode = await main();
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}

/** @returns {Promise<number>} the exit code */
async function main() {
  requireDebian();
  await prepareForContainers(interrupted.signal);
  const data = join(repository, ".lockstep/docker");
  const engine = await step("engine", () => startEngine({ data }), say("dockerd"));
  try {
    /** @type {Record<string, string>} */
    const env = {
      ...engine.env,
      ...(await publishedPorts()),
      LOCKSTEP_SUBNET: freeSubnet(),
      COMPOSE_PROJECT_NAME: "lockstep-test",
    };
    const cache = join(repository, ".lockstep/cache");
    await step("base images", () => provideBaseImages({ env, cache, within }), String);
    await step("build", () => compose(env, 10, "build"), say("lockstep-web"));
    return await testContainers(env);
  } finally {
    await step("stop", engine.stop, say("nothing is left but .lockstep/cache"));
  }
}

/** @param {Record<string, string>} env @returns {Promise<number>} the exit code */
async function testContainers(env) {
  let code = 1;
  try {
    await step("up", () => compose(env, 5, "up", "--detach"), say(`http://localhost:${env.LOCKSTEP_PORT}`));
    code = await runTests(env);
  } finally {
    if (code !== 0 && !interrupted.signal.aborted) await printLogs(env);
  }
  await step("down", () => takeDown(env), say("containers, networks and volumes"));
  return code;
}

/**
 * Removes what was brought up, in a second try if need be: for a moment the engine may count a container that was just
 * removed among the users of its network. If that fails too it is told; the engine and its data are removed next.
 *
 * @param {Record<string, string>} env
 */
async function takeDown(env) {
  const down = () => compose(env, 2, "down", "--volumes");
  try {
    await down();
  } catch {
    interrupted.signal.throwIfAborted();
    await delay(secondTryMs);
    await down().catch((error) => console.error(messageOf(error)));
  }
}

function requireDebian() {
  const system = readFileSync("/etc/os-release", "utf8");
  if (process.getuid?.() !== 0 || !/^VERSION_CODENAME=bookworm$/m.test(system)) {
    throw new Error("npm run test:compose starts a Docker engine of its own, and so needs root on Debian 12.");
  }
}

/** @returns {Promise<Record<string, string>>} the variables of docker-compose.yml, so that the usual ports may be in use */
async function publishedPorts() {
  const ports = ["LOCKSTEP_PORT", "WEB_1_PORT", "WEB_2_PORT", "WEB_3_PORT"];
  return Object.fromEntries(await Promise.all(ports.map(async (name) => [name, `${await freePort()}`])));
}

/** @param {Record<string, string>} env @returns {Promise<number>} the exit code */
async function runTests(env) {
  const vitest = join(repository, "node_modules/vitest/vitest.mjs");
  const tests = spawn(process.execPath, [vitest, "run", "--config", "vitest.compose.config.ts"], {
    cwd: repository,
    env: { ...process.env, ...env },
    stdio: "inherit",
    signal: within(25),
  });
  const [code] = await once(tests, "close");
  return code ?? 1;
}

/** @param {Record<string, string>} env */
async function printLogs(env) {
  for (const args of [["ps"], ["logs", "--tail=20"]]) {
    const listing = spawn("docker-compose", args, {
      cwd: repository,
      env: { ...process.env, ...env },
      stdio: "inherit",
      timeout: 60_000,
    });
    await once(listing, "close");
  }
}

/** @param {Record<string, string>} env @param {number} minutes @param {string[]} args */
function compose(env, minutes, ...args) {
  return runCommand({
    name: `docker-compose ${args[0]}`,
    command: "docker-compose",
    args,
    env,
    cwd: repository,
    signal: within(minutes),
  });
}

/** @param {number} minutes */
function within(minutes) {
  return AbortSignal.any([interrupted.signal, AbortSignal.timeout(minutes * 60_000)]);
}

/** @param {string} text */
function say(text) {
  return () => text;
}
