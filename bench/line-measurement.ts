import { randomUUID } from "node:crypto";
import { messageOf } from "../infra/local/progress.mjs";
import type { Line } from "./cache-lines.ts";
import { DelayProxy } from "./delay-proxy.ts";
import type { ProductProcess } from "./product-process.ts";
import type { Counted, RedisObserver } from "./redis-observer.ts";
import type { Turn } from "./rounds.ts";

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
  /** By name. */
  readonly processes: ReadonlyMap<string, ProductProcess>;
  readonly pace: Pace;
  readonly signal: AbortSignal;
}

interface Counts extends Counted {
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
 * Measures the products of a line in turns: each does the same work in each round, so that whatever disturbs the machine
 * disturbs all of them. A product that fails is out of this line and says why; the others go on.
 */
export async function measureLine(line: Line, surroundings: Surroundings): Promise<readonly Outcome[]> {
  const { redisPort, processes, pace, signal } = surroundings;
  const proxy = line.delayMs > 0 ? await DelayProxy.start(redisPort, line.delayMs) : undefined;
  const redisUrl = `redis://127.0.0.1:${proxy?.port ?? redisPort}`;
  const contestants = line.products.map(({ name }) => {
    const process = processes.get(name);
    if (process === undefined) throw new RangeError(`${name} has no process.`);
    return new Contestant(line, process, surroundings);
  });
  try {
    for (const contestant of contestants) {
      signal.throwIfAborted();
      await contestant.open(redisUrl);
    }
    for (let round = 0; round < pace.rounds; round += 1) {
      // Nobody always follows the same other.
      const first = round % contestants.length;
      for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) {
        signal.throwIfAborted();
        await contestant.takeTurn();
      }
    }
    return contestants;
  } finally {
    for (const contestant of contestants) await contestant.close();
    await proxy?.stop();
  }
}

class Contestant implements Outcome {
  readonly name: string;
  readonly turns: Turn[] = [];
  counts: Counts | undefined;
  failure: string | undefined;
  readonly #line: Line;
  readonly #process: ProductProcess;
  readonly #observer: RedisObserver;
  readonly #pace: Pace;

  constructor(line: Line, process: ProductProcess, { observer, pace }: Surroundings) {
    this.name = process.name;
    this.#line = line;
    this.#process = process;
    this.#observer = observer;
    this.#pace = pace;
  }

  async open(redisUrl: string): Promise<void> {
    await this.#attempt(async () => {
      const { work, valueBytes, ids } = this.#line;
      await this.#process.open({ redisUrl, prefix: `bench-${randomUUID()}`, work, valueBytes, ids });
      await this.#process.run({ durationMs: this.#pace.warmUpMs, maxCalls: this.#line.maxCalls });
      const [run, counted] = await this.#observer.count(() => {
        return this.#process.run({ durationMs: Infinity, maxCalls: countedCalls });
      });
      this.counts = perOperation({ ...counted, loads: run.loads }, run.operations);
    });
  }

  async takeTurn(): Promise<void> {
    if (this.failure !== undefined) return;
    await this.#attempt(async () => {
      const before = await this.#observer.cpuMs();
      const run = await this.#process.run({ durationMs: this.#pace.turnMs, maxCalls: this.#line.maxCalls });
      this.turns.push({ run, redisCpuMs: (await this.#observer.cpuMs()) - before });
    });
  }

  /** Also after a failure: something may be open. */
  async close(): Promise<void> {
    await this.#attempt(() => this.#process.close());
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
