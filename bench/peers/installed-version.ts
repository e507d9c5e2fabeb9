import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** The version of an installed package, also of one that does not export its package.json. */
export function installedVersion(name: string): string {
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const file = folders.map((folder) => join(folder, name, "package.json")).find((path) => existsSync(path));
  if (file === undefined) throw new Error(`The package ${name} is not installed.`);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
