// npm run bench -- cache|sessions|near [--quick]: what the benchmark needs, its build, then the benchmark itself.
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { prepare } from "../infra/local/prerequisites.mjs";
import { messageOf } from "../infra/local/progress.mjs";

const repository = fileURLToPath(new URL("../", import.meta.url));
const built = join(repository, ".lockstep/bench");
const names = ["cache", "sessions", "near"];
const usage = `npm run bench -- ${names.join("|")} [--quick]

  cache     Lockstep's cache beside other products, on one Redis of its own; about three minutes
  sessions  Lockstep's sessions beside other products, in Express servers on one Redis of its own; about six minutes
  near      what near copies cost and save, in groups of up to 64; about six minutes
  --quick   everything once and briefly, to see that it runs: the figures mean nothing`;

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => interrupted.abort());

process.exit(await main(process.argv.slice(2)));

/**
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function main([name, ...flags]) {
  if (name === undefined || !names.includes(name) || flags.some((flag) => flag !== "--quick")) {
    console.error(usage);
    return 2;
  }
  try {
    await prepare({ tests: false, signal: interrupted.signal });
    await buildBenchmarks();
    const { bench } = await import(pathToFileURL(join(built, `${name}.js`)).href);
    return await bench({ repository, quick: flags.length > 0, signal: interrupted.signal });
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    console.error(messageOf(error));
    return 1;
  }
}

/** The products stay what they are in node_modules: only the benchmarks' own files are compiled. */
async function buildBenchmarks() {
  const { build } = await import("tsdown"); // not there before `prepare`
  await build({
    config: false,
    cwd: join(repository, "bench"),
    entry: [
      "cache.ts",
      "client-process.ts",
      "sessions.ts",
      "session-server.ts",
      "load-process.ts",
      "near.ts",
      "near-process.ts",
      "near-floor-process.ts",
    ],
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
