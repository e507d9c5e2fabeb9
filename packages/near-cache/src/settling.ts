import { clockDrift } from "./options.ts";

/**
 * C9: in a generation that has just begun no write takes effect until the leases of older ones have lapsed, D(1+ρ) later. Nobody else knows
 * who holds them. A server takes the time from when it first heard of the generation, unless a member says that the time is over.
 */
export class Settling {
  readonly #leaseMs: number;
  #generation: string | undefined;
  #at = Infinity;

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** To be told with each reply of the group. */
  note(generation: string, isSettled: boolean): void {
    if (this.#generation !== generation) this.#at = performance.now() + this.#leaseMs * (1 + clockDrift);
    this.#generation = generation;
    if (isSettled) this.#at = -Infinity;
  }

  /** Whether this server can say for the others that the time is over. */
  isSettled(generation: string): boolean {
    return this.leftMs(generation) <= 0;
  }

  /** How long writes of this generation are still to wait, in ms. */
  leftMs(generation: string): number {
    return this.#generation === generation ? this.#at - performance.now() : Infinity;
  }
}
