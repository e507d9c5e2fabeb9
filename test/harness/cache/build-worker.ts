import { rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "tsdown";
import { buildCopy, type Mutation } from "../mutant.ts";
import { repository } from "../stack.ts";

/**
 * Builds the program of a test's servers in .lockstep/cache-servers, with a copy of the cache package beside it: as it
 * is, or without one of its rules.
 *
 * @returns the program to start
 * @throws {Error} unless the mutation applies
 */
export async function buildWorker(mutation?: Mutation): Promise<string> {
  const directory = join(repository, ".lockstep/cache-servers", mutation?.name ?? "unchanged");
  await rm(directory, { recursive: true, force: true });
  await buildCopy("cache", join(directory, "node_modules/@lockstep"), mutation);
  await build({
    config: false,
    entry: join(repository, "test/harness/cache/worker.ts"),
    outDir: join(directory, "dist"),
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    tsconfig: false,
    // Packages stay packages; `@lockstep/cache` is the copy.
    deps: { neverBundle: /^[^./]/ },
    logLevel: "error",
  });
  return join(directory, "dist/worker.js");
}
