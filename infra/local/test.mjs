// npm test: what the tests need, then vitest with the arguments given.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { findChromium, prepare } from "./prerequisites.mjs";
import { messageOf } from "./progress.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
/** @type {import("node:child_process").ChildProcess | undefined} */
let vitest;
const interrupted = new AbortController();
interrupted.signal.addEventListener("abort", () => vitest?.kill("SIGTERM"));
process.once("SIGTERM", () => interrupted.abort());
// The terminal sends Ctrl-C to vitest too, which then stops what its tests started: we only wait for that.
process.on("SIGINT", () => vitest ?? interrupted.abort());

process.exit(await main());

/** @returns {Promise<number>} the exit code */
async function main() {
  try {
    await prepare({ tests: true, signal: interrupted.signal });
  } catch (error) {
    console.error(messageOf(error));
    return 1;
  }
  vitest = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)], {
    cwd: repository,
    env: { ...process.env, CHROMIUM_PATH: findChromium() },
    stdio: "inherit",
  });
  const [code] = await once(vitest, "exit");
  return code ?? 1;
}
