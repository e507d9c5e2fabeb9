import { type CircuitBreaker, CommandError } from "@lockstep/redis-kit";
import { CacheError } from "../errors.ts";
import { type Item, formatItem, parseItem } from "./items.ts";
import { isTooLarge, outcomeOf } from "./memcached-sender.ts";
import type { MemcachedClient, MemcachedConnection } from "./memcached-servers.ts";
import type { NextItem } from "./transitions.ts";

/** An item as it was found. */
export interface Found {
  /** Absent: there is none, or it is not ours. */
  readonly item?: Item | undefined;
  /** What tells its state from all others, on this connection: a server that restarts begins to count anew. Absent: there is none. */
  readonly state?: { readonly cas: string; readonly connection: MemcachedConnection };
}

/** What became of a change. Lost: the item is another by now, or gone, and nothing was changed. */
export type PutOutcome = "stored" | "lost" | "too-large";

/** The commands of one operation: what names it in messages, and when the time for it is over, on the monotonic clock. */
export interface Operation {
  readonly what: string;
  readonly endsAt: number;
}

/** Memcached takes more seconds for a date. */
const maxSeconds = 30 * 24 * 60 * 60;

/** In the past: such an item is gone at once, and only if it is still the one that was found, which `delete` can't ask for. */
const expiredSeconds = -1;

/** The items of one Memcached server: every command that is sent to it. */
export class MemcachedItems {
  readonly #commands: CircuitBreaker<MemcachedClient>;

  constructor(commands: CircuitBreaker<MemcachedClient>) {
    this.#commands = commands;
  }

  /** Looks for items, in the order of the keys. @throws CommandError @throws {@link CacheError} `UNSUPPORTED` */
  async find(keys: readonly string[], operation: Operation): Promise<Found[]> {
    const { connection, reply } = await this.#send(operation, async (client) => {
      let used: MemcachedConnection | undefined;
      const sent = client.send((given) => {
        used = write(given, `gets ${keys.join(" ")}\r\n`);
      });
      return { reply: (await sent) as Replies, connection: used };
    });
    return keys.map((key) => {
      const found = reply[key];
      if (found === undefined || connection === undefined) return {};
      const cas = String(found.casUniq);
      if (cas === "0") throw new CacheError("UNSUPPORTED", "A Memcached server was started without CAS: leave out -C.");
      return {
        item: typeof found.value === "string" ? parseItem(found.value) : undefined,
        state: { cas, connection },
      };
    });
  }

  /**
   * Changes an item if it is still what was found.
   *
   * @param onLate told what became of it, where that is answered after the operation has failed
   * @throws CommandError
   */
  async put(
    key: string,
    change: { found: Found; next: NextItem | "gone"; onLate?: (outcome: PutOutcome) => void },
    operation: Operation,
  ): Promise<PutOutcome> {
    const { found, next, onLate } = change;
    let isLate = false;
    const run = async (client: MemcachedClient): Promise<PutOutcome> => {
      const sent = client.send((connection) => {
        if (found.state && found.state.connection !== connection) throw new ConnectionChanged();
        write(connection, changeCommand(key, found, next));
      });
      const outcome = await sent.then((): PutOutcome => "stored", lostOrTooLarge);
      if (isLate) onLate?.(outcome);
      return outcome;
    };
    try {
      return await this.#send(operation, run);
    } catch (error) {
      isLate = true;
      throw error;
    }
  }

  /** Looks whether it can compare and set, at an item that goes by itself. @throws CommandError @throws {@link CacheError} `UNSUPPORTED` */
  async probe(key: string, operation: Operation): Promise<void> {
    await this.put(key, { found: {}, next: { item: { kind: "unkept", until: 0 }, lifeMs: 1_000 } }, operation);
    await this.find([key], operation);
  }

  async #send<T>({ what, endsAt }: Operation, command: (client: MemcachedClient) => Promise<T>): Promise<T> {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0) throw new CommandError("not-sent", `The time for ${what} is over.`, { wasHurried: true });
    return this.#commands.send(what, command, leftMs);
  }
}

type Replies = Readonly<Record<string, { readonly casUniq: string | number; readonly value: unknown } | undefined>>;

/** What was found on one connection may be another item's state on the next. */
class ConnectionChanged extends Error {}

function write(connection: MemcachedConnection | undefined, command: string): MemcachedConnection {
  if (connection === undefined) throw new CommandError("not-sent", "The connection to Memcached is gone.");
  connection.write(command);
  return connection;
}

/** As protocol.txt of Memcached has it, without flags. */
function changeCommand(key: string, { state }: Found, next: NextItem | "gone"): string {
  const seconds = next === "gone" ? expiredSeconds : secondsOf(next.lifeMs);
  const text = next === "gone" ? "-" : formatItem(next.item);
  const head = `${state === undefined ? "add" : "cas"} ${key} 0 ${seconds} ${Buffer.byteLength(text)}`;
  return `${head}${state === undefined ? "" : ` ${state.cas}`}\r\n${text}\r\n`;
}

function lostOrTooLarge(thrown: unknown): PutOutcome {
  if (thrown instanceof ConnectionChanged) return "lost";
  if (isTooLarge(thrown)) return "too-large";
  outcomeOf(thrown);
  return "lost";
}

/** An item that is kept for n seconds goes after n - 1 at the earliest: Memcached's clock ticks once a second. */
function secondsOf(lifeMs: number): number {
  return Math.min(maxSeconds, Math.ceil(Math.max(0, lifeMs) / 1_000) + 1);
}
