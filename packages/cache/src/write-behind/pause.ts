/** A pause that can be cut short, also before it begins. It does not hold up the end of the process. */
export class Pause {
  #endsBy = Infinity;
  #endsAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #end: (() => void) | undefined;

  /** Lasts so long, or until the moment that {@link Pause.endWithin} has named since the last one. */
  async last(ms: number): Promise<void> {
    const now = performance.now();
    const endsAt = Math.min(now + ms, this.#endsBy);
    if (endsAt > now) {
      await new Promise<void>((resolve) => {
        this.#end = resolve;
        this.#start(endsAt);
      });
    }
    this.#end = undefined;
    this.#endsBy = Infinity;
  }

  /** Ends it within so many ms: this one, or the next if there is none. */
  endWithin(ms: number): void {
    const endsBy = performance.now() + ms;
    if (endsBy >= this.#endsBy) return;
    this.#endsBy = endsBy;
    if (this.#end !== undefined && endsBy < this.#endsAt) this.#start(endsBy);
  }

  #start(endsAt: number): void {
    clearTimeout(this.#timer);
    this.#endsAt = endsAt;
    this.#timer = setTimeout(() => this.#end?.(), Math.max(0, endsAt - performance.now())).unref();
  }
}
