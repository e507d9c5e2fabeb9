import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";

type Listener = (this: unknown) => void;

/**
 * Keeps the listeners for "drain" that are added while a response is held. A wrapper below (compression) may pass them on
 * to a stream of its own that was never full, and so would never call them.
 *
 * @returns ends that, and calls them if what was held has drained
 */
export function holdDrain(
  response: Pick<ServerResponse, "on" | "emit" | "rawListeners" | "removeListener">,
): (isDrained: boolean) => void {
  const { on } = response;
  const kept: Listener[] = [];
  const value = (event: string, listener: Listener) => {
    if (event !== "drain") return on.call(response, event, listener);
    kept.push(listener);
    return EventEmitter.prototype.on.call(response, event, listener);
  };
  response.on = value as typeof on;
  return (isDrained) => {
    response.on = on;
    if (isDrained) response.emit("drain");
    const waiting = kept.filter((listener) => response.rawListeners("drain").includes(listener));
    for (const listener of waiting) response.removeListener("drain", listener).on("drain", listener);
  };
}
