// npm run conformance -- <checkout of express-session>: runs express-session's own test suite against both adapters, on a
// Redis of its own. Its npm package carries no tests, so it takes a checkout with its development dependencies installed,
// and `npm ci` and redis-server here.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsdown";
import { startRedis } from "../../infra/local/parts.mjs";
import { freePort } from "../../infra/local/processes.mjs";
import { messageOf } from "../../infra/local/progress.mjs";
import { exceptions } from "./exceptions.mjs";

/** @typedef {import("./exceptions.mjs").Adapter} Adapter */
/** @typedef {{ fullTitle: string, err: { message?: string } }} Case as mocha reports it */

const repository = fileURLToPath(new URL("../../", import.meta.url));
const built = join(repository, ".lockstep/conformance");
const usage = `npm run conformance -- <checkout of express-session>

  git clone https://github.com/expressjs/session && cd session && git checkout v<version> && npm install`;

process.exit(await main(process.argv.slice(2)));

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function main([path, ...others]) {
  if (path === undefined || others.length > 0) {
    console.error(usage);
    return 2;
  }
  try {
    const checkout = resolve(path);
    prepareCheckout(checkout);
    await buildPackage();
    return (await runAdapters(checkout)) ? 0 : 1;
  } catch (error) {
    console.error(messageOf(error));
    return 1;
  }
}

/** @param {string} checkout */
function prepareCheckout(checkout) {
  const { version } = createRequire(import.meta.url)("express-session/package.json");
  const manifest = join(checkout, "package.json");
  if (!existsSync(manifest) || createRequire(manifest)(manifest).version !== version) {
    throw new Error(`${checkout} is no checkout of express-session ${version}, which is installed here.\n\n${usage}`);
  }
  if (!existsSync(join(checkout, "node_modules/mocha"))) throw new Error(`Run npm install in ${checkout} first.`);
  if (existsSync(join(checkout, "test/fixtures/server.crt"))) return;
  const { status, stderr } = spawnSync("sh", ["test/support/gencert.sh"], { cwd: checkout, encoding: "utf8" });
  if (status !== 0) throw new Error(`The certificate for its tests could not be made:\n${stderr}`);
}

async function buildPackage() {
  await build({
    config: false,
    cwd: join(repository, "packages/session-store"),
    entry: "src/index.ts",
    outDir: join(built, "dist"),
    copy: [{ from: "lua", to: built }],
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    deps: { alwaysBundle: ["@lockstep/redis-kit"] },
    logLevel: "error",
  });
}

/**
 * @param {string} checkout
 * @returns {Promise<boolean>} whether each case ended as expected
 */
async function runAdapters(checkout) {
  const directory = await mkdtemp(join(tmpdir(), "lockstep-conformance-"));
  const redis = await startRedis({ role: "state", port: await freePort(), directory, persistent: false });
  try {
    let isExpected = true;
    for (const adapter of /** @type {const} */ (["RedisStore", "session"])) {
      const report = join(directory, `${adapter}.json`);
      runCases({ checkout, adapter, redisUrl: redis.url, report });
      isExpected = judge(adapter, JSON.parse(await readFile(report, "utf8"))) && isExpected;
    }
    return isExpected;
  } finally {
    await redis.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** @param {{ checkout: string, adapter: Adapter, redisUrl: string, report: string }} options */
function runCases({ checkout, adapter, redisUrl, report }) {
  const shim = fileURLToPath(new URL("shim.mjs", import.meta.url));
  const settings = { adapter, redisUrl, entry: join(checkout, "index.js"), built: join(built, "dist/index.js") };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      join(checkout, "node_modules/mocha/bin/mocha.js"),
      ...["--require", join(checkout, "test/support/env.js"), "--require", shim, "--check-leaks", "--exit"],
      ...["--reporter", "json", "--reporter-option", `output=${report}`, "test/"],
    ],
    {
      cwd: checkout,
      encoding: "utf8",
      timeout: 300_000,
      env: { ...process.env, LOCKSTEP_CONFORMANCE: JSON.stringify(settings) },
    },
  );
  if (!existsSync(report)) throw new Error(`mocha ended with ${status} and left no report:\n${stdout}\n${stderr}`);
}

/**
 * @param {Adapter} adapter
 * @param {{ passes: Case[], failures: Case[], pending: Case[] }} report
 * @returns {boolean}
 */
function judge(adapter, { passes, failures, pending }) {
  const listed = exceptions.filter(({ adapters }) => adapters.includes(adapter));
  const isListed = (/** @type {Case} */ { fullTitle }) => listed.some(({ title }) => title === fullTitle);
  const unknown = listed.filter(({ title }) => ![...passes, ...failures].some((each) => each.fullTitle === title));
  const failed = failures.filter((each) => !isListed(each));
  // A case that fails twice is reported twice.
  const failedTitles = new Set(failures.map(({ fullTitle }) => fullTitle));
  const metExceptions = listed.filter(({ title }) => failedTitles.has(title));
  const complaints = [
    ...failed.map(({ fullTitle, err }) => `fails: ${fullTitle}\n    ${err.message}`),
    ...passes.filter(isListed).map(({ fullTitle }) => `is listed, and passes: ${fullTitle}`),
    ...unknown.map(({ title }) => `is listed, and there is none: ${title}`),
    ...pending.map(({ fullTitle }) => `did not run: ${fullTitle}`),
  ];
  console.log(`${adapter}: ${passes.length} passed, ${metExceptions.length} listed, ${failed.length} failed`);
  for (const { title, because } of listed) console.log(`  listed: ${title}\n    ${because}`);
  for (const complaint of complaints) console.log(`  ${complaint}`);
  return complaints.length === 0 && passes.length > 0;
}
