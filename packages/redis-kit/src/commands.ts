import type { RedisClient } from "./client.ts";
import { withDeadline } from "./deadline.ts";
import { CommandError } from "./errors.ts";

/** Commands that got no reply in time and whose fate is still open. Beyond this many, no more are sent. */
const maxUnanswered = 256;

/** States in which ioredis would queue a command without bound, or refuse it, instead of sending it. */
const disconnected: ReadonlySet<string> = new Set(["reconnecting", "close", "disconnecting", "end"]);

/**
 * Sends commands with a deadline each, and tells of each failure what is known about its effect.
 *
 * It bounds what an outage can pile up: a client that is disconnected is not asked at all, and a server that accepts
 * commands but answers none of them (a black hole) is given no more than {@link maxUnanswered}. Both end by themselves
 * when the connection works again, or when ioredis gives it up.
 */
export class Commands {
  readonly #client: RedisClient;
  readonly #deadlineMs: number;
  #unanswered = 0;

  constructor(client: RedisClient, options: { deadlineMs: number }) {
    this.#client = client;
    this.#deadlineMs = options.deadlineMs;
  }

  /**
   * Sends one command (or script).
   *
   * @param what names the work in messages; never put an id or a value in it.
   * @throws {@link CommandError}
   */
  async send<T>(what: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
    if (disconnected.has(this.#client.status)) {
      throw new CommandError("not-sent", `Redis is not connected (${this.#client.status}): ${what} was not sent.`);
    }
    if (this.#unanswered >= maxUnanswered) {
      throw new CommandError("not-sent", `Redis does not answer: ${what} was not sent.`);
    }
    try {
      return await withDeadline(command(this.#client), {
        deadlineMs: this.#deadlineMs,
        lateError: () => {
          this.#unanswered += 1;
          return new CommandError("no-reply", `Redis did not answer ${what} within ${this.#deadlineMs} ms.`);
        },
        onLate: () => {
          this.#unanswered -= 1;
        },
      });
    } catch (error) {
      throw error instanceof CommandError ? error : asCommandError(what, error);
    }
  }
}

function asCommandError(what: string, error: unknown): CommandError {
  // By name: the caller's ioredis may be another copy than ours, with another class.
  if (error instanceof Error && error.name === "ReplyError") {
    return new CommandError("refused", `Redis refused ${what}: ${replyCode(error)}.`, { cause: error });
  }
  // ioredis says this, and only this, of a command that it neither sent nor queued.
  if (error instanceof Error && error.message.startsWith("Stream isn't writeable")) {
    return new CommandError("not-sent", `Redis is not connected: ${what} was not sent.`, { cause: error });
  }
  return new CommandError("no-reply", `The connection to Redis failed before it answered ${what}.`, { cause: error });
}

/** The first word of an error reply (`OOM`, `READONLY`…). The rest may quote arguments, which must not reach a log. */
function replyCode(error: Error): string {
  return /^[A-Z]+/.exec(error.message)?.[0] ?? "ERR";
}
