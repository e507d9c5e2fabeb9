import { buildProgram, type Mutation } from "../mutant.ts";

/**
 * Builds the program of a test's servers, with a copy of the cache package beside it: as it is, or without one of its rules.
 *
 * @returns the program to start
 * @throws {Error} unless the mutation applies
 */
export function buildWorker(mutation?: Mutation): Promise<string> {
  return buildProgram("test/harness/cache/worker.ts", "cache", mutation, ["near-cache"]);
}
