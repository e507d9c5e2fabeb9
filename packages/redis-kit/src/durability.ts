import slotOf from "cluster-key-slot";
import type { Sender } from "./breaker.ts";
import { type RedisClient, isCluster, keyPrefixOf } from "./client.ts";
import { Commands } from "./commands.ts";
import { lastingDuplicate } from "./duplicate.ts";
import { CommandError } from "./errors.ts";
import { type Durability, Lanes } from "./lanes.ts";

/** What a write is sent through: a client, or what waits for the replicas. */
export interface Writer {
  evalsha(sha1: string, keys: number, ...keysAndArgs: (string | number)[]): Promise<unknown>;
  eval(script: string, keys: number, ...keysAndArgs: (string | number)[]): Promise<unknown>;
}

/** How often a write is sent to where a Cluster says that its keys are. */
const maxRedirections = 4;

/**
 * Sends writes that are not done before replicas have them (`WAIT`, redis.io/commands/wait), on a connection of its own, as
 * Redis holds up whatever comes behind a WAIT.
 *
 * A write and a WAIT leave together: on another connection WAIT would answer at once, for it speaks of that connection's
 * writes only. For the same reason a script must write something wherever it says that its work is done.
 *
 * Writes that come while others are waited for leave together when those are done, with one WAIT: so each waits for at most
 * two, however many come, and however long a replica is away.
 */
export class DurableWrites implements Sender<Writer> {
  readonly #client: RedisClient;
  readonly #durability: Durability;
  readonly #deadlineMs: number;
  #own: OwnConnection | undefined;
  #isClosed = false;

  /** @param client the app's; the connection ends with it, or by {@link DurableWrites.close} */
  constructor(client: RedisClient, durability: Durability, options: { deadlineMs: number }) {
    this.#client = client;
    this.#durability = durability;
    this.#deadlineMs = options.deadlineMs;
    // The first write is not to wait until it is connected.
    this.#open();
  }

  close(): void {
    this.#isClosed = true;
    this.#end();
  }

  /** @throws {@link CommandError} `no-reply` also where too few replicas have it in time */
  async send<T>(what: string, write: (writer: Writer) => Promise<T>, withinMs?: number): Promise<T> {
    if (this.#isClosed) throw new CommandError("not-sent", `The connection is closed: ${what} was not sent.`);
    const { commands, lanes } = this.#open();
    return commands.send(what, (client) => write(new LaneWriter(client, lanes)), withinMs);
  }

  #open(): OwnConnection {
    // It ends by itself where ioredis gives up, and with the app's client: a new write wants a new one.
    if (this.#own?.client.status === "end") this.#own = undefined;
    if (this.#own === undefined) {
      const client = lastingDuplicate(this.#client);
      const lanes = new Lanes(this.#durability);
      this.#own = { client, lanes, commands: new Commands(client, { deadlineMs: this.#deadlineMs }) };
      this.#client.once("end", this.#end);
    }
    return this.#own;
  }

  readonly #end = () => {
    this.#client.off("end", this.#end);
    this.#own?.client.disconnect();
    this.#own = undefined;
  };
}

interface OwnConnection {
  readonly client: RedisClient;
  readonly commands: Commands;
  readonly lanes: Lanes;
}

/** Sends scripts to the node that has their keys, whatever a Cluster has to say about that. */
class LaneWriter implements Writer {
  readonly #client: RedisClient;
  readonly #lanes: Lanes;

  constructor(client: RedisClient, lanes: Lanes) {
    this.#client = client;
    this.#lanes = lanes;
  }

  evalsha(sha1: string, keys: number, ...keysAndArgs: (string | number)[]): Promise<unknown> {
    return this.#run(["evalsha", sha1, keys], keysAndArgs);
  }

  eval(script: string, keys: number, ...keysAndArgs: (string | number)[]): Promise<unknown> {
    return this.#run(["eval", script, keys], keysAndArgs);
  }

  async #run(start: readonly [string, string, number], keysAndArgs: readonly (string | number)[]): Promise<unknown> {
    const client = this.#client;
    if (!isCluster(client)) return this.#lanes.of(client).write({ command: [...start, ...keysAndArgs] });
    // A node's own connection puts nothing before the keys.
    const prefix = keyPrefixOf(client);
    const [key = ""] = keysAndArgs;
    const prefixed = keysAndArgs.map((each, index) => (index < start[2] ? `${prefix}${each}` : each));
    const command = [...start, ...prefixed];
    const owner = () => client.slots[slotOf(`${prefix}${key}`)]?.[0];
    let place: { readonly address: string | undefined; readonly isAsking: boolean } = {
      address: owner(),
      isAsking: false,
    };
    for (let tries = 0; ; tries += 1) {
      const { address, isAsking } = place;
      const node = client.nodes("all").find(({ options }) => `${options.host}:${options.port}` === address);
      if (node !== undefined) {
        try {
          return await this.#lanes.of(node).write({ command, isAsking });
        } catch (error) {
          const redirection = redirectionOf(error);
          if (redirection === undefined || tries === maxRedirections) throw error;
          place = redirection;
        }
      } else if (tries === maxRedirections) {
        throw new CommandError("not-sent", "The Cluster has no node for this slot that can be reached.");
      }
      // Any command on the key makes the client learn who has it, and connect.
      await client.exists(String(key));
      if (node === undefined) place = { address: owner(), isAsking: false };
    }
  }
}

/** Where a Cluster's node says that a key is: for good (MOVED), or for one command (ASK). */
function redirectionOf(error: unknown): { readonly address: string; readonly isAsking: boolean } | undefined {
  const [, kind, address] = (error instanceof Error && /^(MOVED|ASK) \d+ (\S+)$/.exec(error.message)) || [];
  return address === undefined ? undefined : { address, isAsking: kind === "ASK" };
}
