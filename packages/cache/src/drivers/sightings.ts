import { clockDrift } from "../options.ts";

/** How many tokens are remembered; one that is forgotten is taken for a new one, and lapses later. */
const maxKnown = 10_000;

/**
 * Since when this process has known the tokens of others. Nobody's wall clock is asked whether a writer is dead: a token that
 * was seen so long ago was given out earlier still.
 */
export class Sightings {
  readonly #since = new Map<string, number>();

  /** Whether it was first asked about at least `lifeMs` ago. */
  readonly hasLapsed = (token: string, lifeMs: number): boolean => {
    const now = performance.now();
    const since = this.#since.get(token);
    if (since !== undefined) return now - since >= lifeMs * (1 + clockDrift);
    const [oldest] = this.#since.keys();
    if (this.#since.size >= maxKnown && oldest !== undefined) this.#since.delete(oldest);
    this.#since.set(token, now);
    return false;
  };
}
