import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repository } from "../stack.ts";

type Cell = string | number;

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  /** The first cell names the row. */
  readonly rows: readonly (readonly Cell[])[];
  /** How the figures came about. */
  readonly details: readonly string[];
}

/** Prints a table and keeps it in .lockstep/report, for people (.md) and for programs (.json). */
export async function report(name: string, table: Table): Promise<void> {
  const line = (cells: readonly Cell[]) => `| ${cells.join(" | ")} |`;
  const markdown = [
    line(table.columns),
    line(table.columns.map((_, index) => (index === 0 ? "---" : "--:"))),
    ...table.rows.map(line),
  ].join("\n");
  const details = table.details.map((detail) => `- ${detail}`).join("\n");
  const folder = join(repository, ".lockstep/report");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(table, undefined, 2)}\n`);
  await writeFile(join(folder, `${name}.md`), `# ${table.title}\n\n${markdown}\n\n${details}\n`);
  console.log(`\n${table.title}:\n\n${markdown}\n\n${details}\n`);
}
