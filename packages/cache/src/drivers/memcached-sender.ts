import { CommandError, type Sender, withDeadline } from "@lockstep/redis-kit";
import type { MemcachedClient, MemcachedNode } from "./memcached-servers.ts";

/** How many commands may be late and unanswered. With so many, only one in each deadline is sent, to see if it is over. */
const maxUnanswered = 256;

/** Replies that are outcomes of a command, and not failures. */
const outcomes: ReadonlySet<string> = new Set(["NOT_STORED", "EXISTS", "NOT_FOUND"]);

/** An error of the client: with the words of the reply, or `connecting` where no connection was made. */
type ClientError = Error & { readonly cmdTokens?: readonly string[]; readonly connecting?: boolean };

/** Sends commands to one Memcached server, with a deadline each, and tells of each failure what is known about its effect. */
export class MemcachedSender implements Sender<MemcachedClient> {
  readonly #node: MemcachedNode;
  readonly #deadlineMs: number;
  readonly #isClosed: () => boolean;
  #unanswered = 0;
  #probedAt = -Infinity;

  constructor(node: MemcachedNode, options: { deadlineMs: number; isClosed: () => boolean }) {
    this.#node = node;
    this.#deadlineMs = options.deadlineMs;
    this.#isClosed = options.isClosed;
  }

  async send<T>(what: string, command: (client: MemcachedClient) => Promise<T>, withinMs = Infinity): Promise<T> {
    if (this.#isClosed()) throw new CommandError("not-sent", `Memcached is closed: ${what} was not sent.`);
    if (this.#unanswered >= maxUnanswered && !this.#mayProbe()) {
      throw new CommandError("not-sent", `A Memcached server does not answer: ${what} was not sent.`);
    }
    const deadlineMs = Math.min(this.#deadlineMs, withinMs);
    try {
      const reply = await withDeadline(command(this.#node.client), {
        deadlineMs,
        lateError: () => {
          this.#unanswered += 1;
          const message = `Memcached did not answer ${what} within ${Math.round(deadlineMs)} ms.`;
          // An operation has one deadline for all of its commands: the first is never hurried, but for the time that it has waited.
          return new CommandError("no-reply", message, { wasHurried: deadlineMs < this.#deadlineMs / 2 });
        },
        onLate: () => {
          this.#unanswered = Math.max(0, this.#unanswered - 1);
        },
      });
      // Replies come in order: what was sent before this is answered too, or never will be.
      this.#unanswered = 0;
      return reply;
    } catch (error) {
      throw error instanceof CommandError ? error : asCommandError(what, error);
    }
  }

  #mayProbe(): boolean {
    const now = performance.now();
    if (now - this.#probedAt < this.#deadlineMs) return false;
    this.#probedAt = now;
    return true;
  }
}

/** The first word of a reply that is an outcome. @throws what was thrown, if it is none */
export function outcomeOf(thrown: unknown): string {
  const word = (thrown as ClientError | undefined)?.cmdTokens?.[0];
  if (word !== undefined && outcomes.has(word)) return word;
  throw thrown;
}

/** Whether the server said that the item is too large for it: the words are Memcached's. */
export function isTooLarge(thrown: unknown): boolean {
  return ((thrown as ClientError | undefined)?.cmdTokens ?? []).slice(1).join(" ").startsWith("object too large");
}

function asCommandError(what: string, thrown: unknown): CommandError {
  const { cmdTokens, connecting } = thrown as ClientError;
  const options = { cause: thrown };
  if (cmdTokens) {
    const [replyCode = "ERROR"] = cmdTokens;
    return new CommandError("refused", `Memcached refused ${what}: ${replyCode}.`, { ...options, replyCode });
  }
  if (connecting === true) {
    return new CommandError("not-sent", `Memcached is not connected: ${what} was not sent.`, options);
  }
  return new CommandError("no-reply", `The connection to Memcached failed before it answered ${what}.`, options);
}
