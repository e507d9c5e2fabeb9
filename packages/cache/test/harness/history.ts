import { expect } from "vitest";

/** The values of one entry, numbers that only rise: which was acknowledged when, on this process' clock. */
export class History {
  readonly #acknowledged: { readonly value: number; readonly at: number }[] = [];

  /** The last value that was. */
  get last(): number {
    return this.#acknowledged.at(-1)?.value ?? 0;
  }

  acknowledged(value: number): void {
    this.#acknowledged.push({ value, at: performance.now() });
  }

  msSinceLast(): number {
    return performance.now() - (this.#acknowledged.at(-1)?.at ?? 0);
  }

  /** A read shows what was acknowledged before that moment, on the clock of `performance.now()`, or something newer. */
  expectRecent(value: unknown, moment: number): void {
    const least = this.#acknowledged.findLast(({ at }) => at < moment)?.value ?? 0;
    expect(value).toBeGreaterThanOrEqual(least);
  }
}
