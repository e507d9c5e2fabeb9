import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** A rule of a package, and how it is cut out: the text `cut` of `file` becomes `instead`. */
export interface Cut {
  readonly name: string;
  /** Below the package's folder; what is redis-kit's starts with "../redis-kit/". */
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
}

const packagesFolder = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * Makes a copy of a package and of redis-kit, which is compiled into it, in which a rule is cut out.
 *
 * @returns the address of its sources, with a slash at the end
 * @throws {Error} unless the text is there exactly once: the rule has moved, and the cut must follow it
 */
export async function copyWithoutRule(packageName: string, { name, file, cut, instead }: Cut): Promise<string> {
  const copy = join(packagesFolder, "../.lockstep/mutants", `${packageName}-${name}`);
  await rm(copy, { recursive: true, force: true });
  for (const part of [`${packageName}/src`, `${packageName}/lua`, "redis-kit/src"]) {
    await cp(join(packagesFolder, part), join(copy, part), { recursive: true });
  }
  const path = join(copy, packageName, file);
  const text = await readFile(path, "utf8");
  if (text.split(cut).length !== 2) throw new Error(`The cut "${name}" no longer applies to ${file}.`);
  await writeFile(
    path,
    text.replace(cut, () => instead),
  );
  await useOwnRedisKit(join(copy, packageName, "src"));
  return pathToFileURL(join(copy, packageName, "src/")).href;
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
