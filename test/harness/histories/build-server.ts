import { buildProgram, type Mutation } from "../mutant.ts";

/**
 * Builds the program of a history's servers, with copies of the packages beside it.
 *
 * @param mutation a rule to leave out of the package `of`
 * @returns the program to start
 * @throws {Error} unless the mutation applies
 */
export function buildServer(of: "cache" | "near-cache" = "near-cache", mutation?: Mutation): Promise<string> {
  const other = of === "cache" ? "near-cache" : "cache";
  return buildProgram("test/harness/histories/server.ts", of, mutation, [other]);
}

/** Builds the program of their source. */
export function buildSource(): Promise<string> {
  return buildProgram("test/harness/histories/source-process.ts", "cache");
}
