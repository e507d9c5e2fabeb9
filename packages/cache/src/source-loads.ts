import { withDeadline } from "@lockstep/redis-kit";
import type { Counts } from "./counts.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { CacheError } from "./errors.ts";
import type { ResolvedCollectionOptions } from "./options.ts";

/** How many ids one `loadMany` is asked for. */
const maxBatch = 500;

interface Waiting<T, Id> extends Deferred<T | undefined> {
  readonly id: Id;
  readonly since: number;
}

/**
 * The loads of one collection from its source: so many at a time, the rest in a bounded queue (F7), each within its time.
 *
 * C6: a load may be shared until it is sent, and by nobody who comes later: it may have read what a write has replaced
 * since. So however busy the source is, each id waits at most once.
 */
export class SourceLoads<T, Id> {
  readonly #options: ResolvedCollectionOptions<T, Id>;
  readonly #counts: Counts;
  readonly #waiting = new Map<string, Waiting<T, Id>>();
  #running = 0;
  #scheduled = false;

  constructor(options: ResolvedCollectionOptions<T, Id>, counts: Counts) {
    this.#options = options;
    this.#counts = counts;
  }

  /**
   * @throws {@link CacheError} `OVERLOADED`, `LOAD_TIMEOUT` @throws what the loader throws
   */
  load(text: string, id: Id): Promise<T | undefined> {
    const shared = this.#waiting.get(text);
    if (shared !== undefined) {
      this.#counts.add("coalesced");
      return shared.promise;
    }
    if (this.#waiting.size >= this.#options.maxSourceQueue) return Promise.reject(overloaded());
    const waiting = { ...deferred<T | undefined>(), id, since: performance.now() };
    this.#waiting.set(text, waiting);
    this.#schedule();
    return waiting.promise;
  }

  /** After the present tick, so that what is asked for in one goes to the source in one. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#waiting.size > 0 && this.#running < this.#options.maxSourceConcurrency) {
      const batch = this.#takeBatch();
      if (batch.length > 0) void this.#run(batch);
    }
  }

  #takeBatch(): Waiting<T, Id>[] {
    const { load, loadMany, loadTimeoutMs } = this.#options;
    const size = loadMany === undefined || (load !== undefined && this.#waiting.size === 1) ? 1 : maxBatch;
    const batch: Waiting<T, Id>[] = [];
    const expired = performance.now() - loadTimeoutMs;
    for (const [text, waiting] of this.#waiting) {
      this.#waiting.delete(text);
      if (waiting.since < expired) waiting.reject(overloaded());
      else if (batch.push(waiting) === size) break;
    }
    return batch;
  }

  async #run(batch: readonly Waiting<T, Id>[]): Promise<void> {
    this.#running += 1;
    const startedAt = performance.now();
    try {
      const values = await this.#withinTime((signal) => this.#ask(batch, signal));
      this.#counts.payoff.load(batch.length, performance.now() - startedAt);
      batch.forEach((waiting, index) => {
        waiting.resolve(values[index]);
      });
      this.#counts.add("loads", batch.length);
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
      this.#counts.add("failedLoads", batch.length);
      this.#counts.payoff.failedLoad(batch.length);
    }
    this.#counts.time("source", performance.now() - startedAt);
    this.#running -= 1;
    this.#schedule();
  }

  async #ask(batch: readonly Waiting<T, Id>[], signal: AbortSignal): Promise<(T | undefined)[]> {
    const { load, loadMany, key } = this.#options;
    const ids = batch.map(({ id }) => id);
    const [first] = ids;
    if (loadMany === undefined || (load !== undefined && ids.length === 1))
      return [await load?.(first as Id, { signal })];
    const found = await loadMany(ids, { signal });
    // By the text of the ids: an object is not found by another, nor 1 by "1".
    const byText = new Map(Array.from(found, ([id, value]) => [key(id), value]));
    return ids.map((id) => byText.get(key(id)));
  }

  async #withinTime<R>(work: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const { loadTimeoutMs } = this.#options;
    const controller = new AbortController();
    const lateError = () => {
      const error = new CacheError("LOAD_TIMEOUT", `The source did not answer a load within ${loadTimeoutMs} ms.`);
      controller.abort(error);
      return error;
    };
    // What comes later was loaded too long ago for anybody: it is not used.
    return withDeadline(work(controller.signal), { deadlineMs: loadTimeoutMs, lateError, onLate: () => undefined });
  }
}

function overloaded(): CacheError {
  return new CacheError("OVERLOADED", "Too many loads are waiting for the source.");
}
