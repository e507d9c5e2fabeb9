import { SessionStoreError } from "./errors.ts";

/** How many saves of one session may wait in one process. Each is a request; a session with more is being abused. */
const maxWaiting = 1_000;

interface Line {
  last: Promise<unknown> | undefined;
  length: number;
}

/** Runs the saves of each session one after the other, so that requests of one process don't conflict with each other. */
export class SaveQueue {
  readonly #lines = new Map<string, Line>();

  /** Whether nothing of this session is running or waiting. */
  isIdle(key: string): boolean {
    return !this.#lines.has(key);
  }

  /**
   * Runs `save` when all earlier ones of `key` have settled; where there are none, before this returns.
   *
   * @throws {@link SessionStoreError} `UNAVAILABLE` when full
   */
  async run<T>(key: string, save: () => Promise<T>): Promise<T> {
    if ((this.#lines.get(key)?.length ?? 0) >= maxWaiting) {
      throw new SessionStoreError(
        "UNAVAILABLE",
        `More than ${maxWaiting} saves of one session are waiting; not stored.`,
      );
    }
    return this.#append(key, save);
  }

  /** Runs the end of a session when all saves of it have settled, however many: nobody is to be kept signed in by them. */
  async runLast(key: string, end: () => Promise<unknown>): Promise<void> {
    await this.#append(key, end);
  }

  async #append<T>(key: string, save: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(key) ?? { last: undefined, length: 0 };
    const inTurn = () => save();
    // The next in line waits for the outcome; it is not its business whether that was a success.
    const result = line.last ? line.last.then(inTurn, inTurn) : save();
    line.last = result;
    line.length += 1;
    this.#lines.set(key, line);
    try {
      return await result;
    } finally {
      line.length -= 1;
      if (line.length === 0 && this.#lines.get(key) === line) this.#lines.delete(key);
    }
  }
}
