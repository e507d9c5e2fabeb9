import { CommandError, isOutage } from "@lockstep/redis-kit";
import { CacheError } from "./errors.ts";
import type { EventOfCollection } from "./events.ts";

/**
 * Tells of what refuses to be read though it is there, each code once (G10): the source answers such reads, for as long as nobody
 * finds the reason.
 */
export class Refusals {
  readonly #tell: (event: EventOfCollection) => void;
  readonly #told = new Set<string>();

  constructor(tell: (event: EventOfCollection) => void) {
    this.#tell = tell;
  }

  note(error: unknown): void {
    const code = codeOf(error);
    if (code === undefined || this.#told.has(code)) return;
    this.#told.add(code);
    this.#tell({ type: "read-failed", error });
  }
}

/** `undefined`: the breaker tells of it, or it is told of as `unsafe-redis`, or it passes. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof CommandError) {
    return error.failure === "refused" && !isOutage(error) ? (error.replyCode ?? error.failure) : undefined;
  }
  if (error instanceof CacheError) return error.code === "UNSUPPORTED" ? error.code : undefined;
  return "unexpected";
}
