import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { RedisClient } from "./client.ts";
import type { Writer } from "./durability.ts";

/** A Lua script and the digest that Redis knows it by. */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

/**
 * Reads a script: a `.lua` file, preceded by those that hold the functions it uses. Called when a module loads, so that a
 * missing file is an error at start and not at first use.
 */
export function readScript(...files: readonly URL[]): Script {
  const text = files.map((file) => readFileSync(file, "utf8")).join("\n");
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/**
 * Runs a script by its digest, and by its text where the server does not have it yet (new, restarted or failed over).
 *
 * All keys must be in one Cluster slot: they decide which node runs it.
 */
export function runScript(
  client: Writer,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  return run(
    () => client.evalsha(script.sha1, keys.length, ...keys, ...args),
    () => client.eval(script.text, keys.length, ...keys, ...args),
  );
}

/** The same for a script that only reads, where a client sends its reads: to replicas, if it is told to. */
export function runReadOnlyScript(
  client: RedisClient,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  return run(
    () => client.evalsha_ro(script.sha1, keys.length, ...keys, ...args),
    () => client.eval_ro(script.text, keys.length, ...keys, ...args),
  );
}

async function run(byDigest: () => Promise<unknown>, byText: () => Promise<unknown>): Promise<unknown> {
  try {
    return await byDigest();
  } catch (error) {
    if (!isUnknownScript(error)) throw error;
    return byText();
  }
}

/** Then nothing ran, so sending it again is safe. */
function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}
