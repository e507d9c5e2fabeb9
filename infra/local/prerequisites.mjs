// What a machine with nothing but Node and npm lacks: npm packages, Redis, nginx, a browser and Memcached for the tests, the
// build, the model checker.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { findCommand, runCommand } from "./processes.mjs";
import { step } from "./progress.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const oldestNode = /** @type {const} */ ([20, 19]);
const oldestRedis = 7;

/**
 * Brings the machine and the repository to where Lockstep can start; what is there already is left alone.
 *
 * @param {{ tests?: boolean, memcached?: boolean, clocks?: boolean, signal: AbortSignal }} options `tests`: whether what only the
 *   tests need is needed too, Memcached included; `clocks`: whether clocks are to jump
 * @throws {Error} saying what is missing and what to do
 */
export async function prepare({ tests = false, memcached = tests, clocks = false, signal }) {
  requireNode();
  /** @type {(keyof typeof tools)[]} */
  const needed = ["redis-server", "nginx"];
  if (memcached) needed.push("memcached");
  if (tests) needed.push("chromium");
  if (clocks) needed.push("libfaketime");
  await requireTools(needed, signal);
  requireRedisVersion();
  await installNpmPackages(signal);
  await buildIfChanged(signal);
}

/**
 * Brings the machine and the repository to where containers can be tested on a Docker engine of our own.
 *
 * @param {AbortSignal} signal
 * @throws {Error} saying what is missing and what to do
 */
export async function prepareForContainers(signal) {
  requireNode();
  await requireTools(["dockerd", "docker-compose", "debootstrap", "iptables", "ip"], signal);
  await installNpmPackages(signal);
}

/**
 * Brings the machine to where the model in spec/ can be checked; that takes no npm packages.
 *
 * @param {AbortSignal} signal
 * @throws {Error} saying what is missing and what to do
 */
export async function prepareForModel(signal) {
  requireNode();
  await requireTools(["spin", "gcc"], signal);
}

/** @returns {string | undefined} the path of a Chromium or Chrome that runs */
export function findChromium() {
  const names = ["chromium", "google-chrome", "google-chrome-stable", "chromium-browser"];
  const paths = [process.env.CHROMIUM_PATH, ...names.map(findCommand)];
  // Asked for its version, because on Ubuntu `chromium-browser` may be a script that only recommends a snap.
  return paths.find((path) => path !== undefined && spawnSync(path, ["--version"], { timeout: 20_000 }).status === 0);
}

/** @returns {string | undefined} the path of the library that tells a program with threads another time */
export function findFaketime() {
  const folders = [
    "/usr/lib",
    ...(existsSync("/usr/lib") ? readdirSync("/usr/lib") : []).map((name) => `/usr/lib/${name}`),
  ];
  return folders.map((folder) => `${folder}/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path));
}

/** @returns {string | undefined} the path of a gcc that has the C library's headers */
function findCompiler() {
  const path = findCommand("gcc");
  const compile = ["-E", "-include", "stdio.h", "-x", "c", "/dev/null"];
  return path !== undefined && spawnSync(path, compile, { timeout: 20_000 }).status === 0 ? path : undefined;
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new Error(`Lockstep needs Node ${oldestNode.join(".")} or newer; this is ${process.versions.node}.`);
  }
}

const tools = {
  "redis-server": { find: () => findCommand("redis-server"), packages: ["redis-server"] },
  nginx: { find: () => findCommand("nginx"), packages: ["nginx"] },
  memcached: { find: () => findCommand("memcached"), packages: ["memcached"] },
  libfaketime: { find: findFaketime, packages: ["libfaketime"] },
  // Without any font a page is drawn without its text.
  chromium: { find: findChromium, packages: ["chromium", "fonts-liberation"] },
  // Where the kernel has AppArmor, no container starts without its tools.
  dockerd: { find: () => findCommand("dockerd"), packages: ["docker.io", "apparmor"] },
  "docker-compose": { find: () => findCommand("docker-compose"), packages: ["docker-compose"] },
  debootstrap: { find: () => findCommand("debootstrap"), packages: ["debootstrap"] },
  iptables: { find: () => findCommand("iptables"), packages: ["iptables"] },
  ip: { find: () => findCommand("ip"), packages: ["iproute2"] },
  spin: { find: () => findCommand("spin"), packages: ["spin"] },
  gcc: { find: findCompiler, packages: ["gcc", "libc6-dev"] },
};

/**
 * @param {(keyof typeof tools)[]} names
 * @param {AbortSignal} signal
 */
async function requireTools(names, signal) {
  const missing = names.filter((name) => tools[name].find() === undefined);
  if (missing.length === 0) return;

  const list = missing.join(" and ");
  if (missing.includes("chromium") && isUbuntu()) {
    throw new Error(
      "No Chromium that runs was found, and Ubuntu has none as a package: install Google Chrome, or name one with CHROMIUM_PATH.",
    );
  }
  if (findCommand("apt-get") === undefined) {
    throw new Error(`Not found: ${list}. Install it with this system's package manager.`);
  }
  const packages = missing.flatMap((name) => tools[name].packages);
  const isRoot = process.getuid?.() === 0;
  const install = ["sh", join(repository, "infra/local/install-packages.sh"), ...packages];
  const hasSudo = findCommand("sudo") !== undefined;
  const command = isRoot || !hasSudo ? install : ["sudo", ...install];
  if (!(isRoot || hasSudo) || !(await mayInstall(list, isRoot, signal))) {
    throw new Error(`Not found: ${list}. As root, this installs it and starts no service: ${command.join(" ")}`);
  }
  console.log(`Installing ${list} with apt …`);
  await step(
    "apt",
    () => runTool("The installation", command, signal),
    () => packages.join(" "),
  );
  const still = missing.filter((name) => tools[name].find() === undefined);
  if (still.length > 0) throw new Error(`Not found, though its package was installed: ${still.join(" and ")}.`);
}

/**
 * The system is changed unasked only where nobody can be asked or the machine is there for that: as root without a
 * terminal, or with CI=true.
 *
 * @param {string} list
 * @param {boolean} isRoot
 * @param {AbortSignal} signal
 */
async function mayInstall(list, isRoot, signal) {
  if (process.env.CI === "true") return true;
  if (!process.stdin.isTTY) return isRoot;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C while the question stands is for the whole program, which listens for the signal.
  terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const answer = await terminal.question(`${list} not found. Install with apt now? [Y/n] `, { signal });
    return /^(y|yes|)$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

function isUbuntu() {
  return existsSync("/etc/os-release") && /^ID=ubuntu$/m.test(readFileSync("/etc/os-release", "utf8"));
}

function requireRedisVersion() {
  const path = findCommand("redis-server") ?? "redis-server";
  const version = /v=(\d+)[.\d]*/.exec(spawnSync(path, ["--version"], { encoding: "utf8" }).stdout);
  if (version === null || Number(version[1]) < oldestRedis) {
    throw new Error(`Lockstep needs Redis ${oldestRedis} or newer; ${path} is ${version?.[0].slice(2) ?? "unknown"}.`);
  }
}

/** @param {AbortSignal} signal */
async function installNpmPackages(signal) {
  if (npmPackagesMatch()) return;
  console.log("Installing npm packages …");
  // NODE_ENV=production in somebody's shell would leave out the build tools.
  const command = ["npm", "ci", "--include=dev", "--no-audit", "--no-fund"];
  await step(
    "npm packages",
    () => runTool("npm ci", command, signal),
    () => "as package-lock.json says",
  );
}

/** Compares what npm noted at its last installation with the lock file; times of files change with every checkout. */
function npmPackagesMatch() {
  const note = join(repository, "node_modules/.package-lock.json");
  if (!existsSync(note)) return false;
  const installed = lockedPackages(note);
  return Object.entries(lockedPackages(join(repository, "package-lock.json")))
    .filter(([path]) => path !== "")
    .every(([path, wanted]) => {
      const found = installed[path];
      return found === undefined ? wanted.optional === true : found.version === wanted.version;
    });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean }>}
 */
function lockedPackages(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

const built = join(repository, "apps/web/dist");

/** @param {AbortSignal} signal */
async function buildIfChanged(signal) {
  // Kept with what was built from these sources, so that removing the one removes the other.
  const stamp = join(built, "built-from");
  const sources = digestOfSources();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === sources) return;
  console.log("Building …");
  await step(
    "build",
    () => runTool("The build", ["npm", "run", "build"], signal),
    () => relative(repository, built),
  );
  writeFileSync(stamp, sources);
}

/** Contents and not times: a fresh clone, a branch change and an edit undone are all recognised. */
function digestOfSources() {
  const hash = createHash("sha256");
  const add = (/** @type {string} */ path) => hash.update(`${path}\0`).update(readFileSync(join(repository, path)));
  for (const file of ["package.json", "package-lock.json", "tsconfig.base.json"]) add(file);
  for (const folder of ["packages", "apps"]) filesBelow(folder).forEach(add);
  return hash.digest("hex");
}

/**
 * @param {string} folder
 * @returns {string[]} sources below it, in a fixed order
 */
function filesBelow(folder) {
  const notSources = ["dist", "node_modules", "test", "public"];
  return readdirSync(join(repository, folder), { withFileTypes: true })
    .filter(({ name }) => !notSources.includes(name) && !name.startsWith("."))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(folder, entry.name)) : join(folder, entry.name)));
}

/**
 * @param {string} name
 * @param {string[]} command
 * @param {AbortSignal} signal
 */
function runTool(name, [command = "", ...args], signal) {
  return runCommand({ name, command, args, cwd: repository, signal });
}
