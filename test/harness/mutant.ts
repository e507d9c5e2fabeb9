import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "tsdown";
import { repository } from "./stack.ts";

/** A rule taken out of a copy of session-store: the text `cut` of `file` becomes `instead`. */
export interface Mutation {
  readonly name: string;
  /** Below packages/session-store. */
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
}

/**
 * Builds the reference app on a session-store without one of its rules, in .lockstep/mutants.
 *
 * The copy of the app finds the mutant in the nearest node_modules, and everything else in the repository's.
 *
 * @returns the program to start
 * @throws {Error} unless the cut text is in its file exactly once: the rule has moved, and the mutation must follow it
 */
export async function buildMutant({ name, file, cut, instead }: Mutation): Promise<string> {
  const directory = join(repository, ".lockstep/mutants", name);
  const original = join(repository, "packages/session-store");
  const mutant = join(directory, "node_modules/@lockstep/session-store");
  await rm(directory, { recursive: true, force: true });
  await mkdir(mutant, { recursive: true });
  for (const part of ["src", "lua", "package.json", "tsdown.config.ts"]) {
    await cp(join(original, part), join(mutant, part), { recursive: true });
  }
  await symlink(join(original, "node_modules"), join(mutant, "node_modules"));

  const text = await readFile(join(mutant, file), "utf8");
  const found = text.split(cut).length - 1;
  if (found !== 1)
    throw new Error(`The cut "${name}" no longer applies: ${file} has its text ${found} times, not once.`);
  await writeFile(
    join(mutant, file),
    text.replace(cut, () => instead),
  );

  // Its own build, without the types that nothing here reads.
  await build({ cwd: mutant, tsconfig: false, dts: false, logLevel: "error" });
  await cp(join(repository, "apps/web/dist"), join(directory, "apps/web/dist"), { recursive: true });
  return join(directory, "apps/web/dist/main.js");
}
