import {
  CircuitBreaker,
  type Commands,
  DurableWrites,
  type RedisClient,
  type Sender,
  type Writer,
} from "@lockstep/redis-kit";
import type { Events } from "./events.ts";
import type { ResolvedOptions } from "./options.ts";
import { TimedCommands } from "./timed-commands.ts";

/** After so many failures in a row Redis is left alone for so long. */
const breaker = { failures: 5, breakMs: 1_000 };

/**
 * Whether Redis is to be had, by the circuit breaker that all of the engine's commands go through (S10).
 *
 * An open breaker is closed by the next command that succeeds. Where nobody sends one, because those who listen here have
 * stopped asking, one is sent now and then.
 */
export class Availability {
  readonly commands: CircuitBreaker;
  /** For writes that are not to be lost: where `durability` is given, they wait for replicas, and have a breaker of their own. */
  readonly writes: Sender<Writer>;
  readonly #durable: DurableWrites | undefined;
  readonly #listeners: ((isAvailable: boolean) => void)[] = [];
  #isAvailable = true;
  #timer: NodeJS.Timeout | undefined;

  constructor(turns: Commands, { client, durability, commandDeadlineMs }: ResolvedOptions, events: Events) {
    this.commands = new CircuitBreaker(new TimedCommands<RedisClient>(turns), {
      ...breaker,
      onChange: (state) => {
        events.report({ type: "breaker", state });
        if (state !== "half-open") this.#tell(state === "closed");
      },
    });
    this.#durable = durability && new DurableWrites(client, durability, { deadlineMs: commandDeadlineMs });
    this.writes = this.#durable
      ? new CircuitBreaker(new TimedCommands<Writer>(this.#durable), {
          ...breaker,
          onChange: (state) => {
            events.report({ type: "durability-breaker", state });
          },
        })
      : this.commands;
  }

  listen(listener: (isAvailable: boolean) => void): void {
    this.#listeners.push(listener);
  }

  stop(): void {
    this.#durable?.close();
    clearInterval(this.#timer);
    this.#listeners.length = 0;
  }

  #tell(isAvailable: boolean): void {
    if (isAvailable === this.#isAvailable) return;
    this.#isAvailable = isAvailable;
    clearInterval(this.#timer);
    if (!isAvailable && this.#listeners.length > 0) {
      this.#timer = setInterval(() => void this.#probe(), breaker.breakMs);
      this.#timer.unref();
    }
    for (const listener of this.#listeners) {
      try {
        listener(isAvailable);
      } catch (error) {
        // The command during which this was noticed is not to blame.
        process.emitWarning(`A listener to availability threw: ${String(error)}`, "LockstepWarning");
      }
    }
  }

  async #probe(): Promise<void> {
    // Its outcome is the breaker's to judge.
    await this.commands.send("a look whether Redis is back", (client) => client.exists("")).catch(() => undefined);
  }
}
