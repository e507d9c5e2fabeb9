import { rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "tsdown";
import { repository } from "../stack.ts";

/**
 * Builds the program of a test's server in .lockstep/cache-servers.
 *
 * @returns the program to start
 */
export async function buildWorker(name = "unchanged"): Promise<string> {
  const directory = join(repository, ".lockstep/cache-servers", name);
  await rm(directory, { recursive: true, force: true });
  await build({
    config: false,
    entry: join(repository, "test/harness/cache/worker.ts"),
    outDir: directory,
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    tsconfig: false,
    // Packages stay packages.
    deps: { neverBundle: /^[^./]/ },
    logLevel: "error",
  });
  return join(directory, "worker.js");
}
