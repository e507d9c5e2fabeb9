import { type CircuitBreaker, CommandError, type RedisClient, isCluster } from "@lockstep/redis-kit";
import { isValueOf } from "../codec.ts";
import type { EntryRules, ReadReply } from "./driver.ts";

/** How long what a script has told of the epoch is believed, in ms, from its sending: see {@link Hits}. */
const believedMs = 100;

/** How long a server that refuses GETEX is not asked by it again, in ms. */
const refusedMs = 5_000;

/** What a script told of the server that this connection leads to. */
interface Confirmation {
  /** The epoch and the space that entries have behind it. */
  readonly start: string;
  readonly stream: unknown;
  /** When the script was sent, on the monotonic clock. */
  readonly at: number;
}

/**
 * Reads of one entry without a script, which takes Redis fifty times as long: GETEX, which without options only reads, but is
 * a write to Redis, so that only a primary answers it.
 *
 * C9: an answer counts if a script has told the epoch on the same connection within {@link believedMs}. A
 * restart ends the connection, and so does Sentinel when it demotes a primary. What is left: a primary that is demoted by hand and
 * promoted again within that time, while another has taken a write in between. In a Cluster nobody knows which connection a key takes:
 * there is none of this there.
 */
export class Hits {
  readonly #client: RedisClient;
  readonly #commands: CircuitBreaker;
  #confirmed: Confirmation | undefined;
  #refusedUntil = 0;

  constructor(client: RedisClient, commands: CircuitBreaker) {
    this.#client = client;
    this.#commands = commands;
  }

  /** To be called before a script is sent, and its answer with the epoch that the script told, if the server is safe. */
  expect(): (epoch: string) => void {
    const stream = this.#stream();
    const at = performance.now();
    return (epoch) => {
      // The client may have sent it again, to another server.
      if (stream !== undefined && stream === this.#stream()) this.#confirmed = { start: `${epoch} `, stream, at };
    };
  }

  /** Whether an entry can be read so now. */
  mayAsk({ extraMs, asksLife }: EntryRules): boolean {
    const now = performance.now();
    const confirmed = this.#confirmed;
    if (confirmed === undefined || extraMs > 0 || asksLife || now < this.#refusedUntil) return false;
    return now - confirmed.at < believedMs && confirmed.stream === this.#stream();
  }

  /** @returns `undefined`: no hit, and a script is to tell what there is @throws CommandError */
  async read(key: string, { revision }: EntryRules): Promise<ReadReply | undefined> {
    const confirmed = this.#confirmed;
    const entry = await this.#get(key);
    if (entry === undefined || confirmed === undefined || confirmed.stream !== this.#stream()) return undefined;
    if (!entry.startsWith(confirmed.start)) return undefined;
    const text = entry.slice(confirmed.start.length);
    return isValueOf(text, revision) ? { outcome: "hit", text } : undefined;
  }

  async #get(key: string): Promise<string | undefined> {
    try {
      const entry = await this.#commands.send("the read of an entry", (client) => client.getex(key));
      return entry ?? undefined;
    } catch (error) {
      if (!(error instanceof CommandError) || error.failure !== "refused") throw error;
      // It takes no writes (too few replicas, a user who may not): a script may be answered all the same.
      this.#refusedUntil = performance.now() + refusedMs;
      return undefined;
    }
  }

  #stream(): unknown {
    return isCluster(this.#client) ? undefined : this.#client.stream;
  }
}
