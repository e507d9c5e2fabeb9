import type { ServerResponse } from "node:http";

/**
 * Puts off `socket.destroy()` while a response is held.
 *
 * Express' error handling destroys the socket of a response that has been sent when its handler throws afterwards, and a
 * closing server the sockets that look idle. The client of a response that was not held would have everything by then.
 */
export class SocketHold {
  readonly #response: ServerResponse;
  #depth = 0;
  #isDestroyWanted = false;
  #restore: () => void = () => undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  /** Begins a hold; they may nest. */
  begin(): void {
    this.#depth += 1;
    const { socket } = this.#response;
    if (this.#depth > 1 || !socket) return;
    const before = Object.getOwnPropertyDescriptor(socket, "destroy");
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error) => {
      if (error) return destroy(error);
      this.#isDestroyWanted = true;
      return socket;
    };
    this.#restore = () => {
      if (before) Object.defineProperty(socket, "destroy", before);
      else Reflect.deleteProperty(socket, "destroy");
      // What was played to the socket leaves first.
      if (this.#isDestroyWanted) socket.destroySoon();
    };
  }

  /** Ends a hold; with the last one, what was put off is done. */
  end(): void {
    this.#depth -= 1;
    if (this.#depth > 0) return;
    this.#restore();
    this.#restore = () => undefined;
  }
}
