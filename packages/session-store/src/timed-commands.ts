import { channel } from "node:diagnostics_channel";
import type { Sender } from "@lockstep/redis-kit";

/** The name of the `node:diagnostics_channel` on which each {@link CommandTiming} of this process is published. */
export const commandChannel = "lockstep:session:command";

/** How long a command on Redis took. */
export interface CommandTiming {
  /** What it was for, such as `the load of sessions`. There are few of them, and none names a session. */
  readonly command: string;
  /** `failed`: refused, not sent, or without an answer within its deadline. */
  readonly outcome: "answered" | "failed";
  /** In ms, on the monotonic clock. */
  readonly durationMs: number;
}

const timings = channel(commandChannel);

/** Commands whose time is told to whoever wants to know it, and not taken where nobody does. */
export class TimedCommands<Client> implements Sender<Client> {
  readonly #commands: Sender<Client>;

  constructor(commands: Sender<Client>) {
    this.#commands = commands;
  }

  send<T>(what: string, command: (client: Client) => Promise<T>, withinMs?: number): Promise<T> {
    if (!timings.hasSubscribers) return this.#commands.send(what, command, withinMs);
    return this.#timed(what, () => this.#commands.send(what, command, withinMs));
  }

  async #timed<T>(command: string, send: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    let outcome: CommandTiming["outcome"] = "failed";
    try {
      const reply = await send();
      outcome = "answered";
      return reply;
    } finally {
      timings.publish({ command, outcome, durationMs: performance.now() - startedAt } satisfies CommandTiming);
    }
  }
}
