/**
 * How long a command is held for others to leave with it, in ms. Of many requests that go on by one reply, the first would else
 * leave after the last was worked at; a Redis that is some way off, and this process, would then wait for each other in turns.
 */
const maxHeldMs = 0.2;

/** What holds back what is written to it: a socket. */
export interface Corkable {
  cork(): void;
  uncork(): void;
}

/** Commands that leave in one write: those of one turn of the event loop, or of part of a long one. */
export class Turn {
  readonly #stream: Corkable;
  readonly #beganAt = performance.now();
  readonly #last = new Set<() => void>();
  #isLeaving = false;
  /** When they left, on the monotonic clock, in ms. */
  leftAt: number | undefined;

  constructor(stream: Corkable) {
    this.#stream = stream;
    stream.cork();
  }

  /** Whether what is sent now leaves with it. */
  get isOpen(): boolean {
    if (this.leftAt !== undefined) return false;
    return this.#isLeaving || performance.now() - this.#beganAt < maxHeldMs;
  }

  /** Calls `work` when it leaves, once however often it was added; what that sends leaves with it. */
  atEnd(work: () => void): void {
    this.#last.add(work);
  }

  /** Lets them leave, if they have not. */
  leave(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    try {
      for (const work of this.#last) {
        // First: it may be added anew while it runs.
        this.#last.delete(work);
        work();
      }
    } finally {
      this.leftAt = performance.now();
      this.#stream.uncork();
    }
  }
}
