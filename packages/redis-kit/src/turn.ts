import { AsyncLocalStorage } from "node:async_hooks";

/**
 * After so long what is held leaves before one more is sent, in ms. Of many requests that go on by one reply, one would else leave
 * after the last was worked at; a Redis that is some way off, and this process, would then wait for each other in turns.
 */
const maxHeldMs = 0.2;

/** What holds back what is written to it: a socket. */
export interface Corkable {
  cork(): void;
  uncork(): void;
}

/** A turn of the event loop in which a command has left. Those that come after it in the turn leave together. */
export class Turn {
  readonly #stream: Corkable | undefined;
  #open: OpenBatch | undefined;
  /** On the monotonic clock, in ms; `undefined`: it has not. Whoever held what, all has left by then. */
  endedAt: number | undefined;

  constructor(stream: Corkable | undefined) {
    this.#stream = stream;
  }

  /** What a command that is sent now leaves with; `undefined`: it leaves by itself. */
  join(): OpenBatch | undefined {
    if (!this.#stream) return undefined;
    if (this.#open?.isOverdue) this.#leave();
    this.#open ??= new OpenBatch(this.#stream);
    return this.#open;
  }

  /** Lets leave what has not left. */
  end(): void {
    try {
      this.#leave();
    } finally {
      this.endedAt = performance.now();
    }
  }

  #leave(): void {
    try {
      this.#open?.leave();
    } finally {
      this.#open = undefined;
    }
  }
}

/** Commands that leave in one write. */
class OpenBatch {
  readonly #stream: Corkable;
  readonly #beganAt = performance.now();
  readonly #last = new Map<() => void, (work: () => void) => void>();
  #isLeaving = false;

  constructor(stream: Corkable) {
    this.#stream = stream;
    stream.cork();
  }

  get isOverdue(): boolean {
    return !this.#isLeaving && performance.now() - this.#beganAt >= maxHeldMs;
  }

  /** Calls `work` when they leave, as who gave it first would, and once however often it is given; what that sends leaves with them. */
  atEnd(work: () => void): void {
    if (!this.#last.has(work)) this.#last.set(work, AsyncLocalStorage.snapshot());
  }

  leave(): void {
    this.#isLeaving = true;
    try {
      for (const [work, within] of this.#last) {
        // First: it may be given anew while it runs.
        this.#last.delete(work);
        within(work);
      }
    } finally {
      this.#stream.uncork();
    }
  }
}
