import type { Row, UserIndex } from "./user-index.ts";

/** How many rows are looked at at a time, and how often in one sweep: a backlog is left to the next. */
const batch = 100;
const maxBatches = 1_000;

/**
 * Looks now and then for indexed sessions that have expired: Redis' own expiry tells nobody for certain, and its keyspace
 * events are off by default and lost by who is not listening.
 *
 * Only rows that are due are looked at. Several servers may sweep at once.
 */
export class Sweep {
  readonly #index: UserIndex;
  readonly #lookAt: (row: Row) => Promise<void>;
  readonly #onError: (error: Error) => void;
  readonly #timer: NodeJS.Timeout;
  #isRunning = false;
  #isStopped = false;

  constructor(
    index: UserIndex,
    options: { everyMs: number; lookAt: (row: Row) => Promise<void>; onError: (error: Error) => void },
  ) {
    this.#index = index;
    this.#lookAt = options.lookAt;
    this.#onError = options.onError;
    this.#timer = setInterval(() => void this.#run(), options.everyMs);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** One that can't be judged is put off, so that it does not hold up the others for ever. */
  async #lookAtOrPutOff(row: Row): Promise<void> {
    try {
      await this.#lookAt(row);
    } catch (error) {
      this.#onError(error as Error);
      await this.#index.expect(row, Date.now() + this.#index.settledMs);
    }
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let count = 0; count < maxBatches && !this.#isStopped; count += 1) {
        const rows = await this.#index.due(batch);
        await Promise.all(rows.map((row) => this.#lookAtOrPutOff(row)));
        if (rows.length < batch) return;
      }
    } catch (error) {
      this.#onError(error as Error);
    } finally {
      this.#isRunning = false;
    }
  }
}
