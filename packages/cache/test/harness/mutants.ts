import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { MemcachedDriver } from "../../src/drivers/memcached.ts";

const original = fileURLToPath(new URL("../../src/", import.meta.url));
const copies = fileURLToPath(new URL("../../../../.lockstep/mutants/", import.meta.url));

/** A rule taken out of a copy of the drivers: the text `cut` of `file` becomes `instead`. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
}

/**
 * The Memcached driver of a copy of the sources without one of its rules, or as it is.
 *
 * @throws {Error} unless the text is there exactly once: the rule has moved, and the mutation must follow it
 */
export async function mutantOf(mutation?: Mutation): Promise<typeof MemcachedDriver> {
  const folder = `${copies}drivers-${mutation?.name ?? "unchanged"}/src/`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await cp(original, folder, { recursive: true });
  if (mutation !== undefined) {
    const { name, file, cut, instead } = mutation;
    const text = await readFile(folder + file, "utf8");
    const found = text.split(cut).length - 1;
    if (found !== 1)
      throw new Error(`The cut "${name}" no longer applies: ${file} has its text ${found} times, not once.`);
    await writeFile(
      folder + file,
      text.replace(cut, () => instead),
    );
  }
  const module = (await import(/* @vite-ignore */ `${folder}drivers/memcached.ts`)) as {
    MemcachedDriver: typeof MemcachedDriver;
  };
  return module.MemcachedDriver;
}
