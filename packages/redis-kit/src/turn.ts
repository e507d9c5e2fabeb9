/**
 * How long a command is held for others to leave with it, in ms. Of many requests that go on by one reply, one would else leave
 * after the last was worked at; a Redis that is some way off, and this process, would then wait for each other in turns.
 */
const maxHeldMs = 0.2;

/** What holds back what is written to it: a socket. */
export interface Corkable {
  cork(): void;
  uncork(): void;
}

/** Commands that leave in one write. */
export interface Batch {
  /** When they left, on the monotonic clock, in ms; `undefined`: they have not. */
  readonly leftAt: number | undefined;
  /** Calls `work` when they leave, once however often it is given; what that sends leaves with them. */
  atEnd(work: () => void): void;
}

/** A turn of the event loop in which a command has left. Those that come after it in the turn leave together. */
export class Turn {
  readonly #stream: Corkable;
  #open: OpenBatch | undefined;

  constructor(stream: Corkable) {
    this.#stream = stream;
  }

  /** What a command that is sent now leaves with. */
  join(): Batch {
    if (this.#open?.isOverdue) this.end();
    this.#open ??= new OpenBatch(this.#stream);
    return this.#open;
  }

  /** Lets leave what has not left. */
  end(): void {
    this.#open?.leave();
    this.#open = undefined;
  }
}

class OpenBatch implements Batch {
  readonly #stream: Corkable;
  readonly #beganAt = performance.now();
  readonly #last = new Set<() => void>();
  #isLeaving = false;
  leftAt: number | undefined;

  constructor(stream: Corkable) {
    this.#stream = stream;
    stream.cork();
  }

  get isOverdue(): boolean {
    return !this.#isLeaving && performance.now() - this.#beganAt >= maxHeldMs;
  }

  atEnd(work: () => void): void {
    this.#last.add(work);
  }

  leave(): void {
    this.#isLeaving = true;
    try {
      for (const work of this.#last) {
        // First: it may be given anew while it runs.
        this.#last.delete(work);
        work();
      }
    } finally {
      this.leftAt = performance.now();
      this.#stream.uncork();
    }
  }
}
