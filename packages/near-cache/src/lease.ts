import { clockDrift } from "./options.ts";

/** A member's right to serve its copies (C1), on its own clocks. */
export class Lease {
  readonly #leaseMs: number;
  #endsAt = -Infinity;
  #wallEndsAt = -Infinity;

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /**
   * Whether copies may be served at this moment, which is given since a hit needs it anyway. The monotonic clock decides. It stands still while a machine is suspended, which the wall clock, once
   * it is right again, shows.
   */
  isValidAt(now: number): boolean {
    return now < this.#endsAt && Date.now() < this.#wallEndsAt;
  }

  /** What is left of it, in ms; 0: nothing. */
  get leftMs(): number {
    const now = performance.now();
    return this.isValidAt(now) ? this.#endsAt - now : 0;
  }

  /** From the sending of the renewal on: who has waited for D(1+ρ) since any later moment knows that it is over. */
  grant(sent: { readonly at: number; readonly wallAt: number }): void {
    this.#endsAt = sent.at + this.#leaseMs * (1 - clockDrift);
    this.#wallEndsAt = sent.wallAt + this.#leaseMs;
  }

  end(): void {
    this.#endsAt = -Infinity;
  }
}
