import { SessionStoreError } from "./errors.ts";

/** How often a change is tried. Each failure means that another server's commit went through, so somebody advances. */
const maxAttempts = 100;

/** The tries of a change, within its deadline. */
export class Attempts {
  readonly #deadline: number;
  #count = 0;

  /** @param deadline on the monotonic clock, in ms */
  constructor(deadline: number) {
    this.#deadline = deadline;
  }

  /**
   * Begins one.
   *
   * @returns how much time is left for it, in ms
   * @throws {@link SessionStoreError} `UNAVAILABLE` if there is no time for the first, `CONFLICT` if there is none for another
   */
  begin(): number {
    this.#count += 1;
    const withinMs = this.#deadline - performance.now();
    if (withinMs <= 0 && this.#count === 1) {
      throw new SessionStoreError("UNAVAILABLE", "Earlier saves of the session took until the deadline; not stored.");
    }
    if (withinMs <= 0 || this.#count > maxAttempts) {
      const message = "Others kept changing the session until the deadline; nothing was stored.";
      throw new SessionStoreError("CONFLICT", message);
    }
    return withinMs;
  }

  /** Whether the one begun last is the first. */
  get isFirst(): boolean {
    return this.#count === 1;
  }
}
