import { type CircuitBreaker, CommandError, type Commands, type RedisClient, isCluster } from "@lockstep/redis-kit";
import { type RecordReply, loadRecords, unlessNoText } from "./scripts.ts";

/** How many records one command reads at most: Redis does nothing else meanwhile. */
const maxAtOnce = 100;

interface Wanted {
  readonly key: string;
  readonly resolve: (reply: RecordReply | undefined | Promise<RecordReply>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads records. Those asked for in one turn of the event loop leave as one command, but for the first (see redis-kit's `Turn`):
 * one costs both sides more than a record. Not in a Cluster, where each key may be another node's.
 */
export class RecordLoads {
  readonly #commands: CircuitBreaker;
  readonly #turns: Pick<Commands, "together">;
  readonly #markOf: ((key: string) => string) | undefined;
  #maxAtOnce: number;
  #wanted: Wanted[] = [];
  readonly #sendWanted = () => this.#send();

  /** @param parts `markOf`: of each record it is asked, by the key of its mark, whether it may become a near copy */
  constructor(
    client: RedisClient,
    parts: {
      commands: CircuitBreaker;
      turns: Pick<Commands, "together">;
      markOf?: ((key: string) => string) | undefined;
    },
  ) {
    this.#commands = parts.commands;
    this.#turns = parts.turns;
    this.#markOf = parts.markOf;
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
      if (this.#wanted.length >= this.#maxAtOnce) this.#send();
      else this.#turns.together(this.#sendWanted);
    });
  }

  #send(): void {
    const wanted = this.#wanted;
    this.#wanted = [];
    // All may have left before, for being many.
    if (wanted.length > 0) void this.#load(wanted);
  }

  async #load(wanted: readonly Wanted[]): Promise<void> {
    try {
      const keys = wanted.map(({ key }) => key);
      const records = await loadRecords(this.#commands, keys, this.#markOf && keys.map(this.#markOf));
      // A second look at one is no business of the others.
      wanted.forEach(({ key, resolve }, at) => resolve(unlessNoText(this.#commands, key, records[at])));
    } catch (error) {
      if (wanted.length > 1 && isOfSeveralSlots(error)) this.#loadEach(wanted);
      else for (const { reject } of wanted) reject(error);
    }
  }

  /** A node of a Cluster that the client takes for a Redis of its own, or a proxy before one. */
  #loadEach(wanted: readonly Wanted[]): void {
    this.#maxAtOnce = 1;
    for (const one of wanted) void this.#load([one]);
  }
}

function isOfSeveralSlots(error: unknown): boolean {
  return error instanceof CommandError && error.replyCode === "CROSSSLOT";
}
