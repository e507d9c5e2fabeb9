import type { Run } from "./client-process.ts";

/** One product's turn in one round. */
export interface Turn {
  readonly run: Run;
  readonly redisCpuMs: number;
}

/** A figure of every round: the one in the middle, and the furthest. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Summary {
  readonly operationUs: Spread;
  /** The time of an operation over that of the baseline in the same round. */
  readonly ratio: Spread | undefined;
  /** Of single calls, over all rounds; `NaN` if those were too few to tell. */
  readonly p99Us: number;
  readonly p999Us: number;
  readonly clientCpuUs: Spread;
  readonly redisCpuUs: Spread;
}

/** @param baseline the turns of what everything is compared with, round by round */
export function summarize(turns: readonly Turn[], baseline: readonly Turn[] | undefined): Summary {
  const latencies = Float64Array.from(turns.flatMap(({ run }) => [...run.latenciesMs])).sort();
  const ratios = baseline?.flatMap((other, round) => {
    const turn = turns[round];
    return turn === undefined ? [] : [operationUs(turn) / operationUs(other)];
  });
  return {
    operationUs: spread(turns.map(operationUs)),
    ratio: ratios === undefined ? undefined : spread(ratios),
    p99Us: quantile(latencies, 0.99) * 1000,
    p999Us: quantile(latencies, 0.999) * 1000,
    clientCpuUs: spread(turns.map(({ run }) => (run.cpuMs / run.operations) * 1000)),
    redisCpuUs: spread(turns.map(({ run, redisCpuMs }) => (redisCpuMs / run.operations) * 1000)),
  };
}

function operationUs({ run }: Turn): number {
  return (run.elapsedMs / run.operations) * 1000;
}

function spread(figures: readonly number[]): Spread {
  const sorted = Float64Array.from(figures).sort();
  return { median: sorted[sorted.length >> 1] ?? NaN, min: sorted[0] ?? NaN, max: sorted.at(-1) ?? NaN };
}

/** The figure that this part of all figures does not exceed; `NaN` if there are too few for any to be beyond it. */
function quantile(sorted: Float64Array, part: number): number {
  const rank = Math.ceil(part * sorted.length);
  return rank < sorted.length ? (sorted[rank - 1] ?? NaN) : NaN;
}
