// Not the global one, which fake timers of a user's tests hold up, and with it the client.
import { setImmediate } from "node:timers";
import { type RedisClient, connections } from "./client.ts";
import { withDeadline } from "./deadline.ts";
import { CommandError } from "./errors.ts";
import { Turn } from "./turn.ts";

/** How many commands may be late and unanswered. With so many, only one in each deadline is sent, to see if it is over. */
const maxUnanswered = 256;

/** States in which ioredis would queue a command without bound, or refuse it, instead of sending it. */
const disconnected: ReadonlySet<string> = new Set(["reconnecting", "close", "disconnecting", "end"]);

/**
 * Sends commands with a deadline each, and tells of each failure what is known about its effect.
 *
 * It bounds what an outage can pile up: a client that is disconnected is not asked at all, and a server that accepts
 * commands but answers none of them (a black hole) is given no more once {@link maxUnanswered} are late. Both end by
 * themselves when Redis answers again.
 */
export class Commands {
  readonly #client: RedisClient;
  readonly #deadlineMs: number;
  #unanswered = 0;
  #probedAt = -Infinity;
  #turn: Turn | undefined;

  constructor(client: RedisClient, options: { deadlineMs: number }) {
    this.#client = client;
    this.#deadlineMs = options.deadlineMs;
  }

  /**
   * Sends one command (or script).
   *
   * @param what names the work in messages; never put an id or a value in it.
   * @param withinMs a deadline of its own, where that is shorter
   * @throws {@link CommandError}
   */
  async send<T>(what: string, command: (client: RedisClient) => Promise<T>, withinMs = Infinity): Promise<T> {
    const deadlineMs = Math.min(this.#deadlineMs, withinMs);
    if (disconnected.has(this.#client.status)) {
      throw new CommandError("not-sent", `Redis is not connected (${this.#client.status}): ${what} was not sent.`);
    }
    if (this.#unanswered >= maxUnanswered && !this.#mayProbe()) {
      throw new CommandError("not-sent", `Redis does not answer: ${what} was not sent.`);
    }
    const turn = this.#turnOfNow();
    const wasReady = this.#client.status === "ready";
    try {
      const reply = await withDeadline(command(this.#client), {
        deadlineMs,
        lateError: () => {
          this.#unanswered += 1;
          const message = `Redis did not answer ${what} within ${Math.round(deadlineMs)} ms.`;
          return new CommandError("no-reply", message, { wasHurried: deadlineMs < this.#deadlineMs });
        },
        // After a stall of the event loop it may leave only now.
        beganAt: () => turn.endedAt,
        onLate: () => {
          this.#unanswered = Math.max(0, this.#unanswered - 1);
        },
      });
      // Replies come in order: what was sent before this is answered too, or never will be.
      this.#unanswered = 0;
      return reply;
    } catch (error) {
      throw error instanceof CommandError ? error : asCommandError(what, error, wasReady);
    }
  }

  /**
   * Calls `work`, which sends something: at once where nothing was sent in this turn of the event loop, else when what was sent
   * since leaves, to leave with it; then once, however often it is given.
   */
  together(work: () => void): void {
    const batch = this.#turn?.join();
    if (batch) batch.atEnd(work);
    else work();
  }

  /**
   * The first command of a turn of the event loop leaves at once: nothing may come after it. What comes leaves in one write at
   * the turn's end, or in a few where that is long, since the system call costs more than all that we do for a command. In a
   * Cluster it is one write for each node.
   */
  #turnOfNow(): Turn {
    if (this.#turn) {
      this.#turn.join();
      return this.#turn;
    }
    const turn = new Turn(() => connections(this.#client).map(({ stream }) => stream));
    this.#turn = turn;
    setImmediate(() => {
      try {
        turn.end();
      } finally {
        // Not before: what is sent while it ends is part of it.
        this.#turn = undefined;
      }
    });
    return turn;
  }

  #mayProbe(): boolean {
    const now = performance.now();
    if (now - this.#probedAt < this.#deadlineMs) return false;
    this.#probedAt = now;
    return true;
  }
}

/** @param wasReady whether the client could send it at once */
function asCommandError(what: string, thrown: unknown, wasReady: boolean): CommandError {
  const error = withoutCommand(thrown);
  // By name: the caller's ioredis may be another copy than ours, with another class.
  if (error instanceof Error && error.name === "ReplyError") {
    const replyCode = replyCodeOf(error);
    return new CommandError("refused", `Redis refused ${what}: ${replyCode}.`, { cause: error, replyCode });
  }
  // What a Cluster's node last refused it with, again and again: a slot that is on its way to another (TRYAGAIN). That tells nothing of
  // the tries before: one may have run, and its answer been lost.
  const redirected =
    error instanceof Error && /^Too many Cluster redirections\. Last error: ReplyError: ([A-Z]+)/.exec(error.message);
  if (redirected) {
    const [, replyCode = "ERR"] = redirected;
    const message = `A Cluster refused ${what} again and again: ${replyCode}.`;
    return new CommandError("no-reply", message, { cause: error, replyCode });
  }
  // ioredis says these of a command that it neither sent nor queued. A Cluster that was ready then says it later: of one whose
  // connection closed, which may have run, and that it can't send again.
  const unsent = wasReady ? /^Stream isn't writeable/ : /^(Stream isn't writeable|Cluster isn't ready)/;
  if (error instanceof Error && unsent.test(error.message)) {
    return new CommandError("not-sent", `Redis is not connected: ${what} was not sent.`, { cause: error });
  }
  return new CommandError("no-reply", `The connection to Redis failed before it answered ${what}.`, { cause: error });
}

/** ioredis hangs the command on its errors, keys and values included, and a reply may quote them: neither may reach a log. */
function withoutCommand(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const message = error.name === "ReplyError" ? replyCodeOf(error) : error.message;
  return Object.assign(new Error(message), { name: error.name });
}

/** The first word of an error reply (`OOM`, `READONLY`…). The rest may quote arguments, which must not reach a log. */
function replyCodeOf(error: Error): string {
  return /^[A-Z]+/.exec(error.message)?.[0] ?? "ERR";
}
