// Runs tests that take long, and writes a document of what they have found if all of them pass.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepare } from "../infra/local/prerequisites.mjs";
import { messageOf } from "../infra/local/progress.mjs";

const repository = fileURLToPath(new URL("../", import.meta.url));

/**
 * @param {object} run
 * @param {string} run.folder of the tests
 * @param {readonly string[]} run.parts of the document, in their order: what `keepPart` keeps
 * @param {string} run.document is written if there are all of them
 * @param {readonly string[]} [run.args] for vitest
 * @param {Record<string, string>} [run.env]
 * @returns {Promise<number>} the exit code
 */
export async function runLong({ folder, parts, document, args = [], env = {} }) {
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort());
  try {
    await prepare({ memcached: true, clocks: true, signal: interrupted.signal });
  } catch (error) {
    console.error(messageOf(error));
    return 1;
  }
  const files = parts.map((name) => join(repository, `.lockstep/report/parts/${name}.md`));
  for (const file of files) rmSync(file, { force: true });
  const code = await node(
    ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.long.config.ts", folder, ...args],
    env,
  );
  if (code !== 0 || !files.every((file) => existsSync(file))) return code;
  writeFileSync(join(repository, document), files.map((file) => readFileSync(file, "utf8")).join("\n"));
  return node(["node_modules/prettier/bin/prettier.cjs", "--write", document], {});
}

/**
 * @param {readonly string[]} args
 * @param {Record<string, string>} env
 * @returns {Promise<number>} the exit code
 */
async function node(args, env) {
  const child = spawn(process.execPath, args, { cwd: repository, env: { ...process.env, ...env }, stdio: "inherit" });
  const [code] = await once(child, "exit");
  return code ?? 1;
}
