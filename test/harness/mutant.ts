import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { build } from "tsdown";
import { repository } from "./stack.ts";

/** A rule taken out of a copy of a package: the text `cut` of `file` becomes `instead`. */
export interface Mutation {
  readonly name: string;
  /** Below the package's folder. */
  readonly file: string;
  readonly cut: string;
  readonly instead: string;
  /** A rule that is kept in two places of the file is taken out of both. */
  readonly also?: { readonly cut: string; readonly instead: string };
}

/**
 * Builds the reference app on a copy of a package without one of its rules, in .lockstep/mutants.
 *
 * The copy of the app finds the mutant in the nearest node_modules, and everything else in the repository's.
 *
 * @returns the program to start
 * @throws {Error} unless the mutation applies
 */
export async function buildMutant(name: string, mutation: Mutation): Promise<string> {
  const directory = join(repository, ".lockstep/mutants", mutation.name);
  await rm(directory, { recursive: true, force: true });
  await buildCopy(name, join(directory, "node_modules/@lockstep"), mutation);
  await cp(join(repository, "apps/web/dist"), join(directory, "apps/web/dist"), { recursive: true });
  return join(directory, "apps/web/dist/main.js");
}

/**
 * Builds a copy of a package in a folder of its name below `scope`, without one of its rules if that is told.
 *
 * @throws {Error} unless the cut text is in its file exactly once: the rule has moved, and the mutation must follow it
 */
async function buildCopy(name: string, scope: string, mutation?: Mutation): Promise<void> {
  const original = join(repository, "packages", name);
  const copy = join(scope, name);
  await mkdir(copy, { recursive: true });
  for (const part of ["src", "lua", "package.json", "tsdown.config.ts"]) {
    await cp(join(original, part), join(copy, part), { recursive: true });
  }
  await symlink(join(original, "node_modules"), join(copy, "node_modules"));
  if (mutation !== undefined) await mutate(copy, mutation);
  // Its own build, without the types that nothing here reads. Newer Node would read its configuration by itself, which it
  // refuses to do below node_modules.
  await build({ cwd: copy, configLoader: "unrun", tsconfig: false, dts: false, logLevel: "error" });
}

/**
 * Builds a program of the tests, in .lockstep/programs, with a copy of a package beside it: as it is, or without one of
 * its rules.
 *
 * @param source the program's text, below the repository
 * @param others packages that it uses as they are
 * @returns the program to start
 * @throws {Error} unless the mutation applies
 */
export async function buildProgram(
  source: string,
  name: string,
  mutation?: Mutation,
  others: readonly string[] = [],
): Promise<string> {
  const directory = join(repository, ".lockstep/programs", basename(source, ".ts"), mutation?.name ?? "unchanged");
  await rm(directory, { recursive: true, force: true });
  const scope = join(directory, "node_modules/@lockstep");
  await buildCopy(name, scope, mutation);
  for (const other of others) await buildCopy(other, scope);
  await build({
    config: false,
    entry: join(repository, source),
    outDir: join(directory, "dist"),
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    tsconfig: false,
    // Packages stay packages; the one below `@lockstep` is the copy.
    deps: { neverBundle: /^[^./]/ },
    logLevel: "error",
  });
  return join(directory, "dist", `${basename(source, ".ts")}.js`);
}

async function mutate(copy: string, { name, file, also, ...first }: Mutation): Promise<void> {
  const path = join(copy, file);
  let text = await readFile(path, "utf8");
  for (const { cut, instead } of also === undefined ? [first] : [first, also]) {
    const found = text.split(cut).length - 1;
    if (found !== 1)
      throw new Error(`The cut "${name}" no longer applies: ${file} has its text ${found} times, not once.`);
    text = text.replace(cut, () => instead);
  }
  await writeFile(path, text);
}
