import { type CircuitBreaker, type Commands, type RedisClient, isCluster } from "@lockstep/redis-kit";
import { type RecordReply, loadRecords } from "./scripts.ts";

/** How many records one command reads at most: Redis does nothing else meanwhile. */
const maxAtOnce = 100;

interface Wanted {
  readonly key: string;
  readonly resolve: (reply: RecordReply | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads records. What is asked for in one turn of the event loop leaves as one command at its end, when it would have left
 * anyway: a command costs both sides more than a record. Not in a Cluster, where each key may be another node's.
 */
export class RecordLoads {
  readonly #commands: CircuitBreaker;
  readonly #turns: Pick<Commands, "atTurnsEnd">;
  readonly #maxAtOnce: number;
  #wanted: Wanted[] = [];

  constructor(client: RedisClient, parts: { commands: CircuitBreaker; turns: Pick<Commands, "atTurnsEnd"> }) {
    this.#commands = parts.commands;
    this.#turns = parts.turns;
    this.#maxAtOnce = isCluster(client) ? 1 : maxAtOnce;
  }

  /**
   * Reads a record and its remaining life.
   *
   * @returns `undefined` if there is none
   * @throws CommandError
   */
  load(key: string): Promise<RecordReply | undefined> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ key, resolve, reject });
      if (this.#wanted.length === this.#maxAtOnce) this.#send();
      else if (this.#wanted.length === 1) this.#turns.atTurnsEnd(() => this.#send());
    });
  }

  #send(): void {
    const wanted = this.#wanted;
    this.#wanted = [];
    // All may have left before the turn's end, for being many.
    if (wanted.length > 0) void this.#load(wanted);
  }

  async #load(wanted: readonly Wanted[]): Promise<void> {
    try {
      const replies = await loadRecords(
        this.#commands,
        wanted.map(({ key }) => key),
      );
      wanted.forEach(({ resolve }, at) => resolve(replies[at]));
    } catch (error) {
      for (const { reject } of wanted) reject(error);
    }
  }
}
