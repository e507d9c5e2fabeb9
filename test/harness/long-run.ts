import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./stack.ts";

/**
 * Keeps a part of a report for test/long-run.mjs, which wants all of them of one run; `undefined`: there is none, as not all was
 * run.
 */
export function keepPart(name: "faults" | "losses" | "soak", text: string | undefined): void {
  const folder = join(repository, ".lockstep/report/parts");
  const file = join(folder, `${name}.md`);
  rmSync(file, { force: true });
  if (text === undefined) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, text);
}

/** The version of the Redis that the tests start. */
export function redisVersion(): string {
  const told = execFileSync("redis-server", ["--version"], { encoding: "utf8" });
  return /v=([\d.]+)/.exec(told)?.[1] ?? "unknown";
}
