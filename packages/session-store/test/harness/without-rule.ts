import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect } from "vitest";
import type { createSessions } from "../../src/index.ts";

export type Create = typeof createSessions;

/** A rule of the code, how it is cut out, and what is seen then. */
export interface Rule {
  readonly rule: string;
  readonly name: string;
  /** Below this package's folder; what is redis-kit's starts with "../redis-kit/". */
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (create: Create) => Promise<number>;
}

/** Expects that the rule is missed where it is cut out. */
export async function expectMissed(rule: Rule): Promise<void> {
  const create = await withoutRule(rule);
  expect(await rule.violations(create)).toBeGreaterThan(0);
}

/** Expects that it is not broken where it is not. */
export async function expectKept({ violations }: Rule): Promise<void> {
  const { createSessions } = await import("../../src/index.ts");
  expect(await violations(createSessions)).toBe(0);
}

const packagesFolder = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * Loads a copy of this package and of redis-kit, which is compiled into it, in which a rule is cut out.
 *
 * @throws {Error} unless the text is there exactly once: the rule has moved, and the cut must follow it
 */
async function withoutRule({ name, file, cut, instead }: Rule): Promise<Create> {
  const copy = join(packagesFolder, "../.lockstep/mutants", `sessions-${name}`);
  await rm(copy, { recursive: true, force: true });
  for (const part of ["session-store/src", "session-store/lua", "redis-kit/src"]) {
    await cp(join(packagesFolder, part), join(copy, part), { recursive: true });
  }
  const path = join(copy, "session-store", file);
  const text = await readFile(path, "utf8");
  if (text.split(cut).length !== 2) throw new Error(`The cut "${name}" no longer applies to ${file}.`);
  await writeFile(
    path,
    text.replace(cut, () => instead),
  );
  await useOwnRedisKit(join(copy, "session-store/src"));
  const module = (await import(pathToFileURL(join(copy, "session-store/src/index.ts")).href)) as {
    createSessions: Create;
  };
  return module.createSessions;
}

/** By its name the original would be loaded. */
async function useOwnRedisKit(folder: string): Promise<void> {
  const kit = pathToFileURL(join(folder, "../../redis-kit/src/index.ts")).href;
  for (const entry of await readdir(folder, { recursive: true })) {
    if (!entry.endsWith(".ts")) continue;
    const path = join(folder, entry);
    await writeFile(path, (await readFile(path, "utf8")).replaceAll('"@lockstep/redis-kit"', JSON.stringify(kit)));
  }
}
