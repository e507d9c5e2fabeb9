// The images that docker-compose.yml and web.Dockerfile start from. Where no image registry can be reached they are built
// here, from Debian's packages and this machine's Node: same names, same users, folders and stop signals, other versions.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCommand, runCommand } from "../local/processes.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const recipes = join(repository, "infra/compose/stand-ins");

/**
 * @typedef {object} Context
 * @property {Record<string, string>} env of the engine
 * @property {string} cache a folder that outlives this run
 * @property {(minutes: number) => AbortSignal} within ends what takes longer, or is no longer wanted
 */

/**
 * @param {Context} context
 * @returns {Promise<"pulled" | "stand-ins">}
 */
export async function provideBaseImages(context) {
  const images = baseImages();
  const docker = (/** @type {number} */ minutes, /** @type {string[]} */ ...args) =>
    runCommand({
      name: `docker ${args[0]}`,
      command: "docker",
      args,
      env: context.env,
      signal: context.within(minutes),
    });
  try {
    for (const image of images) await docker(3, "pull", image);
    return "pulled";
  } catch {
    await docker(2, "import", await debian(context), "lockstep-debian");
    for (const image of images) {
      const kind = image.slice(0, image.indexOf(":"));
      const recipe = join(recipes, kind);
      const folder = kind === "node" ? nodeFolder(context.cache) : recipe;
      await docker(5, "build", "--tag", image, "--file", join(recipe, "Dockerfile"), folder);
      if (folder !== recipe) rmSync(folder, { recursive: true });
    }
    return "stand-ins";
  }
}

/** @returns {string[]} such as redis:7.4-bookworm, as the files name them */
function baseImages() {
  const overrides = readdirSync(join(repository, "infra/compose")).filter((file) => file.endsWith(".yml"));
  const named = ["docker-compose.yml", "infra/web.Dockerfile", ...overrides.map((file) => `infra/compose/${file}`)];
  const files = named.map((file) => readFileSync(join(repository, file), "utf8"));
  const names = files.join("\n").matchAll(/^ *(?:image:|FROM) (\w+:\S+)/gm);
  return [...new Set(Array.from(names, ([, name]) => /** @type {string} */ (name)))];
}

/**
 * @param {Context} context
 * @returns {Promise<string>} a tar file of a minimal Debian
 */
async function debian({ cache, within }) {
  const tar = join(cache, "debian-bookworm.tar");
  if (existsSync(tar)) return tar;
  mkdirSync(cache, { recursive: true });
  const root = mkdtempSync(join(cache, "debian-"));
  const run = (/** @type {string} */ command, /** @type {string[]} */ ...args) =>
    runCommand({ name: command, command, args, signal: within(10) });
  try {
    await run("debootstrap", "--variant=minbase", "bookworm", root);
    await run(
      "tar",
      "--create",
      "--file",
      `${tar}.partial`,
      "--directory",
      root,
      "--exclude=./var/cache/apt/*",
      "--exclude=./var/lib/apt/lists/*",
      ".",
    );
    renameSync(`${tar}.partial`, tar);
    return tar;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/**
 * @param {string} cache
 * @returns {string} a folder with this machine's node, npm and npm settings, for the node stand-in to copy
 */
function nodeFolder(cache) {
  const npm = findCommand("npm") ?? "npm";
  const folder = join(cache, "node");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "etc"), { recursive: true });
  cpSync(process.execPath, join(folder, "node"));
  cpSync(join(realpathSync(npm), "../.."), join(folder, "npm"), { recursive: true });

  /** @type {Record<string, unknown>} */
  const settings = JSON.parse(
    execFileSync(npm, ["config", "list", "--json", "--loglevel=error"], { encoding: "utf8" }),
  );
  const wanted = ["registry", "proxy", "https-proxy"].filter((name) => typeof settings[name] === "string");
  const lines = wanted.map((name) => `${name}=${settings[name]}`);
  const certificates = settings.cafile ?? process.env.NODE_EXTRA_CA_CERTS;
  if (typeof certificates === "string") {
    cpSync(certificates, join(folder, "etc/certificates.pem"), { dereference: true });
    lines.push("cafile=/usr/local/etc/certificates.pem");
  }
  writeFileSync(join(folder, "etc/npmrc"), `${lines.join("\n")}\n`);
  return folder;
}
