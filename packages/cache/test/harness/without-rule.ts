import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { join } from "node:path";
import { expect } from "vitest";
import type { createCache } from "../../src/index.ts";

export type Create = typeof createCache;

/** A rule of the code, how it is cut out, and what is seen then. */
export interface Rule {
  readonly rule: string;
  readonly name: string;
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
  /** How often the rule is seen to be broken. */
  readonly violations: (create: Create) => Promise<number>;
}

/** Expects that the rule is missed where it is cut out. */
export async function expectMissed({ name, file, cut, instead, violations }: Rule): Promise<void> {
  const { createCache } = await withoutRule(name, { file, cut, instead });
  expect(await violations(createCache)).toBeGreaterThan(0);
}

/** Expects that it is not broken where it is not. */
export async function expectKept({ violations }: Rule): Promise<void> {
  const { createCache } = await import("../../src/index.ts");
  expect(await violations(createCache)).toBe(0);
}

const packagesFolder = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * Loads a copy of this package and of redis-kit, which is compiled into it, in which a rule is cut out: the text `cut` of `file` becomes
 * `instead`.
 *
 * @param file below this package's folder; what is redis-kit's starts with "../redis-kit/"
 * @throws {Error} unless the text is there exactly once: the rule has moved, and the cut must follow it
 */
export async function withoutRule(
  name: string,
  { file, cut, instead }: { file: string; cut: string; instead: string },
): Promise<typeof import("../../src/index.ts")> {
  const copy = join(packagesFolder, "../.lockstep/mutants", `cache-${name}`);
  await rm(copy, { recursive: true, force: true });
  for (const part of ["cache/src", "cache/lua", "redis-kit/src"]) {
    await cp(join(packagesFolder, part), join(copy, part), { recursive: true });
  }
  const path = join(copy, "cache", file);
  const text = await readFile(path, "utf8");
  if (text.split(cut).length !== 2) throw new Error(`The cut "${name}" no longer applies to ${file}.`);
  await writeFile(
    path,
    text.replace(cut, () => instead),
  );
  await useOwnRedisKit(join(copy, "cache/src"));
  return (await import(pathToFileURL(join(copy, "cache/src/index.ts")).href)) as typeof import("../../src/index.ts");
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
