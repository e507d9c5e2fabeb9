import type { Outcome } from "./line-measurement.ts";
import type { Section } from "./report.ts";
import type { Spread } from "./rounds.ts";
import type { SessionLine } from "./session-lines.ts";
import { type Columns, count, microseconds, ratio, spreadOf, tableOf } from "./table.ts";

export const sessionLegend: Section = {
  title: "How to read it",
  rows: [],
  remarks: [
    "× req/s: requests per second over those of the first row in the same round; median of the rounds, least and most.",
    "× CPU: processor time of the server's process for a request over that of the first row, the same way.",
    "req/s, µs CPU: the figures themselves. p99, p99.9: µs until the whole answer is there, all rounds together.",
    "Redis CPU: µs of Redis' processor time for a request.",
    "commands: what Redis was sent for a request. in scripts: what scripts called. By MONITOR, while nothing was timed.",
    "reads: how often Redis read from a socket for it, by INFO: round trips, of requests one at a time.",
  ],
};

const columns: Columns = {
  names: [
    ["× req/s", "min–max", "× CPU", "min–max", "req/s", "min–max", "p99", "p99.9"],
    ["µs CPU", "min–max", "Redis CPU", "commands", "in scripts", "reads"],
  ].flat(),
  figuresOf: (summary, counts) => [
    ...spreadOf(summary.ratio && inverse(summary.ratio, 1), ratio),
    ...spreadOf(summary.cpuRatio, ratio),
    ...spreadOf(inverse(summary.operationUs, 1_000_000), (figure) => figure.toFixed(0)),
    ...[summary.p99Us, summary.p999Us].map(microseconds),
    ...spreadOf(summary.cpuUs, microseconds),
    microseconds(summary.redisCpuUs.median),
    ...[counts.commands, counts.inScripts, counts.reads].map(count),
  ],
};

export function sessionSectionOf(line: SessionLine, outcomes: readonly Outcome[]): Section {
  return tableOf(line, columns, outcomes);
}

/** Times as rates: the longest time is the lowest rate. */
function inverse({ median, min, max }: Spread, unit: number): Spread {
  return { median: unit / median, min: unit / max, max: unit / min };
}
