import { messageOf } from "../infra/local/progress.mjs";
import { DelayProxy } from "./delay-proxy.ts";
import type { Counted, RedisObserver } from "./redis-observer.ts";
import type { Run, RunRequest, Turn } from "./rounds.ts";

/** A product that does a line's work. */
export interface Contender {
  readonly name: string;
  /** @param redisUrl where Redis is, for this line */
  open(redisUrl: string): Promise<void>;
  run(request: RunRequest): Promise<Run>;
  /** Also called where opening failed: something may be open. */
  close(): Promise<void>;
}

/** One piece of work that several contenders do in turns. */
export interface LineWork {
  /** On the way to Redis. */
  readonly delayMs: number;
  /** In a turn. */
  readonly maxCalls: number;
}

/** How long a measurement takes. */
export interface Pace {
  readonly rounds: number;
  readonly turnMs: number;
  /** Calls that count for nothing, for V8 and the connections to settle. */
  readonly warmUpMs: number;
}

export interface Surroundings {
  readonly redisPort: number;
  readonly observer: RedisObserver;
  readonly pace: Pace;
  readonly signal: AbortSignal;
}

/** What happened while nothing was timed. */
export interface Counts extends Counted {
  /** How often the source was asked. */
  readonly loads: number;
}

/** What one product did in a line. */
export interface Outcome {
  readonly name: string;
  /** Its turn in each round, in order. */
  readonly turns: readonly Turn[];
  /** Per operation. */
  readonly counts: Counts | undefined;
  /** Why it took no further part. */
  readonly failure: string | undefined;
}

/** Enough for exact counts, and few enough that watching a megabyte each takes no time. */
const countedCalls = 20;

/**
 * Measures the contenders of a line in turns: each does the same work in each round, so that whatever disturbs the machine
 * disturbs all of them. One that fails is out of this line and says why; the others go on.
 */
export async function measureLine(
  work: LineWork,
  contenders: readonly Contender[],
  surroundings: Surroundings,
): Promise<readonly Outcome[]> {
  const { redisPort, pace, signal } = surroundings;
  const proxy = work.delayMs > 0 ? await DelayProxy.start(redisPort, work.delayMs) : undefined;
  const redisUrl = `redis://127.0.0.1:${proxy?.port ?? redisPort}`;
  const measurements = contenders.map((contender) => new Measurement(contender, work.maxCalls, surroundings));
  try {
    for (const measurement of measurements) {
      signal.throwIfAborted();
      await measurement.open(redisUrl);
    }
    for (let round = 0; round < pace.rounds; round += 1) {
      // Nobody always follows the same other.
      const first = round % measurements.length;
      for (const measurement of [...measurements.slice(first), ...measurements.slice(0, first)]) {
        signal.throwIfAborted();
        await measurement.takeTurn();
      }
    }
    return measurements;
  } finally {
    for (const measurement of measurements) await measurement.close();
    await proxy?.stop();
  }
}

class Measurement implements Outcome {
  readonly name: string;
  readonly turns: Turn[] = [];
  counts: Counts | undefined;
  failure: string | undefined;
  readonly #contender: Contender;
  readonly #maxCalls: number;
  readonly #observer: RedisObserver;
  readonly #pace: Pace;

  constructor(contender: Contender, maxCalls: number, { observer, pace }: Surroundings) {
    this.name = contender.name;
    this.#contender = contender;
    this.#maxCalls = maxCalls;
    this.#observer = observer;
    this.#pace = pace;
  }

  async open(redisUrl: string): Promise<void> {
    await this.#attempt(async () => {
      await this.#contender.open(redisUrl);
      await this.#contender.run({ durationMs: this.#pace.warmUpMs, maxCalls: this.#maxCalls });
      const [run, counted] = await this.#observer.count(() => {
        return this.#contender.run({ durationMs: Infinity, maxCalls: countedCalls, oneByOne: true });
      });
      this.counts = perOperation({ ...counted, loads: run.loads ?? 0 }, run.operations);
    });
  }

  async takeTurn(): Promise<void> {
    if (this.failure !== undefined) return;
    await this.#attempt(async () => {
      const before = await this.#observer.cpuMs();
      const run = await this.#contender.run({ durationMs: this.#pace.turnMs, maxCalls: this.#maxCalls });
      this.turns.push({ run, redisCpuMs: (await this.#observer.cpuMs()) - before });
    });
  }

  async close(): Promise<void> {
    await this.#attempt(() => this.#contender.close());
  }

  async #attempt(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.failure ??= messageOf(error);
    }
  }
}

function perOperation(counts: Counts, operations: number): Counts {
  const { commands, inScripts, reads, loads } = counts;
  return {
    commands: commands / operations,
    inScripts: inScripts / operations,
    reads: reads / operations,
    loads: loads / operations,
  };
}
