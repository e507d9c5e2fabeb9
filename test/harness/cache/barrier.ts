/** A barrier: whoever comes waits until it is released, and passes afterwards. */
export class Barrier {
  /** Who waits, in the order of arrival. */
  readonly waiting: string[] = [];
  readonly #released: Promise<void>;
  readonly #onArrival: (() => void)[] = [];
  #release: () => void = () => undefined;

  constructor() {
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  async pass(who: string): Promise<void> {
    this.waiting.push(who);
    for (const tell of this.#onArrival.splice(0)) tell();
    await this.#released;
  }

  /** Waits until `count` have arrived. */
  async arrivals(count: number): Promise<void> {
    while (this.waiting.length < count) await new Promise<void>((resolve) => this.#onArrival.push(resolve));
  }

  release(): void {
    this.#release();
  }
}
