import type { Counts, Outcome } from "./line-measurement.ts";
import type { Section } from "./report.ts";
import { type Spread, type Summary, summarize } from "./rounds.ts";

/** The columns beside the product's name. */
export interface Columns {
  readonly names: readonly string[];
  readonly figuresOf: (summary: Summary, counts: Counts) => readonly string[];
}

/** What has no figure. */
const none = "–";

/** A line of a benchmark as a table: the first outcome is what the others are compared with. */
export function tableOf(
  { title, remarks = [] }: { title: string; remarks?: readonly string[] },
  { names, figuresOf }: Columns,
  outcomes: readonly Outcome[],
): Section {
  const [baseline] = outcomes;
  const comparable = baseline?.failure === undefined ? baseline?.turns : undefined;
  const rows = outcomes.map(({ name, turns, counts, failure }) => {
    if (failure !== undefined || counts === undefined) return [name, "failed", ...names.slice(1).map(() => none)];
    return [name, ...figuresOf(summarize(turns, comparable), counts)];
  });
  const failures = outcomes.flatMap(({ name, failure }) =>
    failure === undefined ? [] : [`${name} failed: ${failure}`],
  );
  return { title, rows: [["product", ...names], ...rows], remarks: [...remarks, ...failures] };
}

/** The median, and between what. */
export function spreadOf(spread: Spread | undefined, format: (figure: number) => string): string[] {
  if (spread === undefined) return [none, none];
  return [format(spread.median), `${format(spread.min)}–${format(spread.max)}`];
}

export function ratio(figure: number): string {
  return figure.toFixed(2);
}

export function microseconds(figure: number): string {
  if (Number.isNaN(figure)) return none;
  return figure.toFixed(figure < 1 ? 3 : figure < 100 ? 1 : 0);
}

export function count(figure: number): string {
  return String(Number(figure.toFixed(2)));
}
