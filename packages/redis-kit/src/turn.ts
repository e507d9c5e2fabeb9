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
  readonly #streams: () => readonly (Corkable | undefined)[];
  #open: OpenBatch | undefined;
  /** On the monotonic clock, in ms; `undefined`: it has not. Whoever held what, all has left by then. */
  endedAt: number | undefined;

  /** @param streams those that commands are sent on; `undefined` for one that is not connected yet */
  constructor(streams: () => readonly (Corkable | undefined)[]) {
    this.#streams = streams;
  }

  /** What a command that is sent now leaves with; `undefined`: it leaves by itself. */
  join(): OpenBatch | undefined {
    if (this.#open?.isOverdue) this.#leave();
    this.#open ??= this.#newBatch();
    return this.#open;
  }

  #newBatch(): OpenBatch | undefined {
    const streams = this.#streams().filter((stream) => stream !== undefined);
    return streams.length === 0 ? undefined : new OpenBatch(streams);
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
  readonly #streams: readonly Corkable[];
  readonly #beganAt = performance.now();
  readonly #last = new Map<() => void, (work: () => void) => void>();
  #isLeaving = false;

  constructor(streams: readonly Corkable[]) {
    this.#streams = streams;
    for (const stream of streams) stream.cork();
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
      for (const stream of this.#streams) stream.uncork();
    }
  }
}
