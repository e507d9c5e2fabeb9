import { isMissing, sizeOf } from "./codec.ts";
import { type Fill, failedFills, failurePauseMs } from "./drivers/driver.ts";
import { lifeOf } from "./freshness.ts";
import { type ReaderParts, tellTooLarge } from "./parts.ts";

/**
 * What comes of the loads of one collection that a token was given for: all of one tick in one trip. Nobody waits for it: the reads
 * that follow on this connection come after it.
 */
export class Fills<T, Id> {
  readonly #parts: ReaderParts<T, Id>;
  #due: Fill[] = [];

  constructor(parts: ReaderParts<T, Id>) {
    this.#parts = parts;
  }

  /** The value was loaded, and is stored unless it is too large. */
  keep(key: string, token: string, text: string): void {
    const { options } = this.#parts;
    if (sizeOf(text) > options.maxBytes) {
      tellTooLarge(this.#parts);
      this.#store({ key, token, result: "unkept" });
      return;
    }
    const lifeMs = lifeOf(isMissing(text) ? options.missingMs : options.ttlMs, options.jitter, Math.random());
    this.#store({ key, token, result: { text, lifeMs } });
  }

  /** The load failed. F3: whoever waits for it takes over at once, unless there is an old value to serve. */
  giveUp(key: string, token: string): void {
    this.#store({ key, token, result: { outcome: "failed", pauseMs: failurePauseMs } });
  }

  #store(fill: Fill): void {
    if (this.#due.push(fill) > 1) return;
    process.nextTick(() => {
      const fills = this.#due;
      this.#due = [];
      void this.#storeAll(fills);
    });
  }

  async #storeAll(fills: readonly Fill[]): Promise<void> {
    const { driver, rules, counts, tell } = this.#parts;
    const results = await driver.store(fills, rules).catch((error: unknown) => failedFills(fills, error));
    for (const { outcome } of results) {
      if (outcome === "stored") counts.add("fills");
      if (outcome === "refused") counts.add("refusedFills");
      if (outcome === "too-large") tellTooLarge(this.#parts);
    }
    // Their tokens lapse; until then others wait for them.
    const errors = results.flatMap((result) => (result.outcome === "failed" ? [result.error] : []));
    if (errors.length > 0) tell({ type: "store-failed", error: errors[0] });
  }
}
