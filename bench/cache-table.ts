import type { Line } from "./cache-lines.ts";
import type { Outcome } from "./line-measurement.ts";
import type { Section } from "./report.ts";
import { type Columns, count, microseconds, ratio, spreadOf, tableOf } from "./table.ts";

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

const columns: Columns = {
  names: [
    ["ratio", "min–max", "µs", "min–max", "p99", "p99.9"],
    ["client CPU", "Redis CPU", "commands", "in scripts", "reads", "loads"],
  ].flat(),
  figuresOf: (summary, counts) => [
    ...spreadOf(summary.ratio, ratio),
    ...spreadOf(summary.operationUs, microseconds),
    ...[summary.p99Us, summary.p999Us, summary.cpuUs.median, summary.redisCpuUs.median].map(microseconds),
    ...[counts.commands, counts.inScripts, counts.reads, counts.loads].map(count),
  ],
};

export function sectionOf(line: Line, outcomes: readonly Outcome[]): Section {
  return tableOf(line, columns, outcomes);
}
