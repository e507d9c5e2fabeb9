import type { Line } from "./cache-lines.ts";
import type { Outcome } from "./line-measurement.ts";
import type { Section } from "./report.ts";
import { type Spread, summarize } from "./rounds.ts";

export const legend: Section = {
  title: "How to read it",
  rows: [],
  remarks: [
    "ratio: the time of an operation over that of the first row in the same round; median of the rounds, least and most.",
    "µs: the time of an operation, the same way. p99, p99.9: of single calls, all rounds together.",
    "CPU: µs of processor time for an operation, of the client's process and of Redis.",
    "commands: what Redis was sent for an operation. in scripts: what scripts called. By MONITOR, while nothing was timed.",
    "reads: how often Redis read from a socket for it, by INFO: round trips, while what is sent at once is below 16 KB.",
    "loads: how often the source was asked for it.",
  ],
};

const header = [
  ["product", "ratio", "min–max", "µs", "min–max", "p99", "p99.9"],
  ["client CPU", "Redis CPU", "commands", "in scripts", "reads", "loads"],
].flat();

/** What has no figure. */
const none = "–";

export function sectionOf(line: Line, outcomes: readonly Outcome[]): Section {
  const [baseline] = outcomes;
  const comparable = baseline?.failure === undefined ? baseline : undefined;
  const rows = outcomes.map((outcome) => rowOf(outcome, comparable));
  const failures = outcomes.flatMap(({ name, failure }) =>
    failure === undefined ? [] : [`${name} failed: ${failure}`],
  );
  return { title: line.title, rows: [header, ...rows], remarks: [...(line.remarks ?? []), ...failures] };
}

function rowOf({ name, turns, counts, failure }: Outcome, baseline: Outcome | undefined): string[] {
  if (failure !== undefined || counts === undefined) return [name, "failed", ...header.slice(2).map(() => none)];
  const { ratio, operationUs, p99Us, p999Us, clientCpuUs, redisCpuUs } = summarize(turns, baseline?.turns);
  return [
    name,
    ...(ratio === undefined ? [none, none] : spreadOf(ratio, (figure) => figure.toFixed(2))),
    ...spreadOf(operationUs, microseconds),
    ...[p99Us, p999Us, clientCpuUs.median, redisCpuUs.median].map(microseconds),
    ...[counts.commands, counts.inScripts, counts.reads, counts.loads].map(count),
  ];
}

function spreadOf({ median, min, max }: Spread, format: (figure: number) => string): string[] {
  return [format(median), `${format(min)}–${format(max)}`];
}

function microseconds(figure: number): string {
  if (Number.isNaN(figure)) return none;
  return figure.toFixed(figure < 1 ? 3 : figure < 100 ? 1 : 0);
}

function count(figure: number): string {
  return String(Number(figure.toFixed(2)));
}
