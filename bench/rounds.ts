/** Calls follow one another until the time is up or their number is reached. */
export interface RunRequest {
  readonly durationMs: number;
  readonly maxCalls: number;
  /** Never two at a time, however the work is done otherwise. */
  readonly oneByOne?: boolean;
}

/** What came of it. */
export interface Run {
  readonly operations: number;
  readonly elapsedMs: number;
  /** Of the whole process of the product: user and system. */
  readonly cpuMs: number;
  /** How often the source was asked, where there is one. */
  readonly loads?: number;
  /** Of each call; none where that is no figure. */
  readonly latenciesMs: Float64Array;
}

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
  /** The same of its processor time, that of the product's process. */
  readonly cpuRatio: Spread | undefined;
  /** Of single calls, over all rounds; `NaN` if those were too few to tell. */
  readonly p99Us: number;
  readonly p999Us: number;
  readonly cpuUs: Spread;
  readonly redisCpuUs: Spread;
}

/** @param baseline the turns of what everything is compared with, round by round */
export function summarize(turns: readonly Turn[], baseline: readonly Turn[] | undefined): Summary {
  const latencies = Float64Array.from(turns.flatMap(({ run }) => [...run.latenciesMs])).sort();
  const compared = (figure: (turn: Turn) => number) => {
    const ratios = baseline?.flatMap((other, round) => {
      const turn = turns[round];
      return turn === undefined ? [] : [figure(turn) / figure(other)];
    });
    return ratios === undefined ? undefined : spread(ratios);
  };
  return {
    operationUs: spread(turns.map(operationUs)),
    ratio: compared(operationUs),
    cpuRatio: compared(cpuUs),
    p99Us: quantile(latencies, 0.99) * 1000,
    p999Us: quantile(latencies, 0.999) * 1000,
    cpuUs: spread(turns.map(cpuUs)),
    redisCpuUs: spread(turns.map(({ run, redisCpuMs }) => (redisCpuMs / run.operations) * 1000)),
  };
}

function operationUs({ run }: Turn): number {
  return (run.elapsedMs / run.operations) * 1000;
}

function cpuUs({ run }: Turn): number {
  return (run.cpuMs / run.operations) * 1000;
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
