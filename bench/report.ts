/** A part of a report: a table, remarks, or both. */
export interface Section {
  readonly title: string;
  /** The first row names the columns; the first column names the rows, the others are figures. */
  readonly rows: readonly (readonly string[])[];
  readonly remarks: readonly string[];
}

/** For a terminal: columns of a fixed width, figures flush right. */
export function toText({ title, rows, remarks }: Section): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const table = rows.map(([name = "", ...figures]) => {
    return [name.padEnd(widths[0] ?? 0), ...figures.map((figure, index) => figure.padStart(widths[index + 1] ?? 0))];
  });
  return [title, ...[...table.map((row) => row.join("  ")), ...remarks].map((line) => `  ${line}`)].join("\n");
}

export function toMarkdown({ title, rows: [header, ...rows], remarks }: Section): string {
  const rule = header?.map((_, column) => (column === 0 ? "---" : "---:"));
  const table = header === undefined || rule === undefined ? [] : [header, rule, ...rows];
  const parts = [table.map((row) => `| ${row.join(" | ")} |`), remarks.map((remark) => `- ${remark}`)];
  return [`## ${title}`, ...parts.filter((part) => part.length > 0).map((part) => part.join("\n"))].join("\n\n");
}
