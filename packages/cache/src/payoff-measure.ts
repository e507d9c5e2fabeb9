import type { AnsweredBy, CallSums, Measured } from "./payoff.ts";

/** Sums of calls, which tell means and their variances whatever the number of calls. */
class RunningSums implements CallSums {
  calls = 0;
  count = 0;
  totalMs = 0;
  squaredMs = 0;
  squaredSizes = 0;
  crossedMs = 0;

  add(size: number, ms: number): void {
    const weightedMs = size * ms;
    this.calls += 1;
    this.count += size;
    this.totalMs += weightedMs;
    this.squaredMs += weightedMs * weightedMs;
    this.squaredSizes += size * size;
    this.crossedMs += size * weightedMs;
  }
}

/** Of so many near hits one is timed, and the next are taken for alike: to ask the clock takes a sixth of a hit. */
const nearHitsPerTimed = 16;

/** What callers of one collection wait for: a few additions a call, and nothing that grows. */
export class PayoffMeasure {
  readonly #reads = new RunningSums();
  readonly #answers: Record<keyof AnsweredBy, number> = { near: 0, shared: 0, source: 0 };
  #nearHitMs = 0;
  #failedReads = 0;
  readonly #loads = new RunningSums();
  #failedLoads = 0;
  readonly #writes = new RunningSums();
  readonly #revocations = new RunningSums();

  /** One call that read so many ids: its time is that of each. */
  read(ids: number, ms: number): void {
    this.#reads.add(ids, ms);
  }

  /** What one of those ids was answered by. */
  answered(tier: keyof AnsweredBy): void {
    this.#answers[tier] += 1;
  }

  /** A read of one id that a near copy has answered. */
  nearHit(startedAt: number): void {
    if (this.#answers.near % nearHitsPerTimed === 0) this.#nearHitMs = performance.now() - startedAt;
    this.#reads.add(1, this.#nearHitMs);
    this.answered("near");
  }

  failedRead(ids: number): void {
    this.#failedReads += ids;
  }

  /** One call of the loader, for so many ids. */
  load(ids: number, ms: number): void {
    this.#loads.add(ids, ms);
  }

  failedLoad(ids: number): void {
    this.#failedLoads += ids;
  }

  /** One write: the time that its caller waited for the cache. */
  write(ms: number): void {
    this.#writes.add(1, ms);
  }

  /** The part of a write's time in which it waited for other servers to drop their near copies. */
  revocation(ms: number): void {
    this.#revocations.add(1, ms);
  }

  /** @param tripMs the mean trip to the shared tier; null before the first */
  measured(tripMs: number | null): Measured {
    return {
      reads: this.#reads,
      answers: this.#answers,
      failedReads: this.#failedReads,
      loads: this.#loads,
      failedLoads: this.#failedLoads,
      writes: this.#writes,
      revocations: this.#revocations,
      tripMs,
    };
  }
}
