/**
 * How a session's method ended, as a promise: it knows whether anybody asks for it, and may be ignored, as a method
 * without a callback is. A failure that nobody asks for is no unhandled rejection.
 */
export class Outcome extends Promise<undefined> {
  /** What `then` gives is a promise like any other. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  /** Whether anybody asks how it ended. */
  isHeard = false;

  /**
   * Does `work` and tells `callback`, if there is one, how it ended.
   *
   * @param onSettled called first, before anybody is told
   */
  static of(
    work: (done: (error?: unknown) => void) => void,
    callback: ((error?: unknown) => void) | undefined,
    onSettled: (error?: unknown) => void = () => undefined,
  ): Outcome {
    const outcome = new Outcome((resolve, reject) => {
      work((error) => {
        onSettled(error);
        if (error) reject(error instanceof Error ? error : new Error("A session's method failed.", { cause: error }));
        else resolve(undefined);
        callback?.(error);
      });
    });
    outcome.isHeard = callback !== undefined;
    void outcome.unheard().catch(() => undefined);
    return outcome;
  }

  override then<Value = undefined, Reason = never>(
    onFulfilled?: ((value: undefined) => Value | PromiseLike<Value>) | null,
    onRejected?: ((reason: unknown) => Reason | PromiseLike<Reason>) | null,
  ): Promise<Value | Reason> {
    this.isHeard = true;
    return super.then(onFulfilled, onRejected);
  }

  /** The same outcome, for those who only wait: it does not count as being asked for. */
  unheard(): Promise<undefined> {
    return super.then();
  }
}
