// npm run histories -- [minutes] [near|shared|bounded]: servers under faults for so long, and what a judge finds in their history.
// It takes `npm ci` and redis-server.
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "tsdown";
import { messageOf } from "../../infra/local/progress.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const built = join(repository, ".lockstep/histories");
const coherences = ["near", "shared", "bounded"];
const usage = `npm run histories -- [minutes] [${coherences.join("|")}]

  minutes   how long, 15 unless told: a million operations; whole rounds of all faults are done
  near      strict, with near copies; unless told
  shared    strict, from Redis alone
  bounded   copies that may be 50 ms old: the judge must find that`;

process.exit(await main(process.argv.slice(2)));

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function main([minutes = "15", coherence = "near", ...others]) {
  if (!(Number(minutes) > 0) || !coherences.includes(coherence) || others.length > 0) {
    console.error(usage);
    return 2;
  }
  try {
    await buildRun();
    const { longRun } = await import(pathToFileURL(join(built, "long-run.js")).href);
    return (await longRun({ minutes: Number(minutes), coherence })) ? 0 : 1;
  } catch (error) {
    console.error(messageOf(error));
    return 1;
  }
}

async function buildRun() {
  await build({
    config: false,
    entry: join(repository, "test/harness/histories/long-run.ts"),
    outDir: built,
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    tsconfig: false,
    deps: { neverBundle: /^[^./]/ },
    logLevel: "error",
  });
}
