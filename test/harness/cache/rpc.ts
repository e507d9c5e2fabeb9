/** What one process may ask of another. */
type Methods = Readonly<Record<string, (...args: never[]) => unknown>>;

type Message =
  | { readonly ask: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly answer: number; readonly value: unknown }
  | { readonly answer: number; readonly failure: { readonly message: string; readonly code: unknown } };

interface Asked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** An error that another process told of. `code` is that of the original, if it had one. */
class RemoteError extends Error {
  override readonly name = "RemoteError";
  readonly code: unknown;

  constructor(message: string, code: unknown) {
    super(message);
    this.code = code;
  }
}

/**
 * Calls between two processes, in both directions, over any channel that keeps the order. All messages of one turn of the
 * event loop travel together: tests make hundreds of thousands of calls.
 */
export class Rpc<Remote extends { [K in keyof Remote]: (...args: never[]) => unknown }> {
  readonly #send: (batch: readonly Message[]) => void;
  readonly #methods: Methods;
  readonly #asked = new Map<number, Asked>();
  #outbox: Message[] = [];
  #lastAsk = 0;
  #ended: Error | undefined;

  constructor(send: (batch: readonly object[]) => void, methods: Methods) {
    this.#send = send;
    this.#methods = methods;
  }

  ask<K extends keyof Remote & string>(
    method: K,
    ...args: Parameters<Remote[K]>
  ): Promise<Awaited<ReturnType<Remote[K]>>> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    this.#lastAsk += 1;
    const ask = this.#lastAsk;
    this.#post({ ask, method, args });
    return new Promise((resolve, reject) => {
      this.#asked.set(ask, { resolve: resolve as Asked["resolve"], reject });
    });
  }

  /** Takes a batch that the other side has sent. */
  receive(batch: unknown): void {
    for (const message of batch as readonly Message[]) {
      if ("ask" in message) {
        void this.#perform(message.ask, message.method, message.args);
      } else {
        const asked = this.#asked.get(message.answer);
        this.#asked.delete(message.answer);
        if ("failure" in message) asked?.reject(new RemoteError(message.failure.message, message.failure.code));
        else asked?.resolve(message.value);
      }
    }
  }

  /** The other side is gone: what was asked of it, and will be, fails with `error`. */
  end(error: Error): void {
    this.#ended = error;
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  async #perform(ask: number, method: string, args: readonly unknown[]): Promise<void> {
    try {
      const perform = this.#methods[method];
      if (perform === undefined) throw new Error(`There is no method ${method}.`);
      this.#post({ answer: ask, value: await perform(...(args as never[])) });
    } catch (error) {
      const { message, code } = error as Error & { code?: unknown };
      this.#post({ answer: ask, failure: { message, code } });
    }
  }

  #post(message: Message): void {
    if (this.#ended !== undefined) return;
    if (this.#outbox.push(message) > 1) return;
    setImmediate(() => {
      const batch = this.#outbox;
      this.#outbox = [];
      if (this.#ended === undefined) this.#send(batch);
    });
  }
}
