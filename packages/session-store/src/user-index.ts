import type { CircuitBreaker } from "@lockstep/redis-kit";
import type { SessionFields } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import type { Keys } from "./keys.ts";
import { type ResolvedOptions, tombstoneMs } from "./options.ts";
import { read, write } from "./records.ts";
import { admitRow } from "./scripts.ts";

/** A session in the index of its user. */
export interface Row {
  /** The key of its record, there or not: the index is a superset of the living. */
  readonly key: string;
  /** When it was added, by Redis' clock, in ms. */
  readonly addedAt: number;
}

/** A row whose session may have ended. */
export interface DueRow {
  readonly user: string;
  readonly key: string;
}

/**
 * S8: which sessions a user has.
 *
 * In Cluster a record and the index of its user are on different nodes, so no script can change both. Instead a row is added
 * before its record is stored and taken away after its record has gone: what lives is always in the index.
 */
export class UserIndex {
  readonly #options: ResolvedOptions;
  readonly #commands: CircuitBreaker;
  readonly #keys: Keys;

  constructor(options: ResolvedOptions, { commands, keys }: { commands: CircuitBreaker; keys: Keys }) {
    this.#options = options;
    this.#commands = commands;
    this.#keys = keys;
  }

  /** What the index calls the user of these fields; `null`: nobody's; `undefined`: no index is kept. */
  userOf(fields: SessionFields): string | null | undefined {
    if (!this.#options.userOf) return undefined;
    const user = this.#options.userOf(fields);
    return user == null ? null : this.#keys.user(user);
  }

  /**
   * Adds a session whose record is about to be stored.
   *
   * @param lifeMs how long that will live at least; `Infinity`: for ever
   * @param max how many rows there may be
   * @throws {@link SessionStoreError} `TOO_MANY_SESSIONS`
   */
  async add(
    user: string,
    key: string,
    { lifeMs, max }: { lifeMs: number; max: number },
    withinMs: number,
  ): Promise<void> {
    const row = this.#keys.row(key);
    // First, so that a row is found by the sweep whatever happens next.
    if (lifeMs !== Infinity) await this.expect({ user, key }, Date.now() + lifeMs);
    const admit = () => write(() => admitRow(this.#commands, this.#keys.userIndex(user), { row, max }, withinMs));
    if ((await admit()) === "full") {
      throw new SessionStoreError("TOO_MANY_SESSIONS", "The user has as many sessions as are allowed; not stored.");
    }
  }

  /** Takes away a session whose record has gone. @returns whether nobody else has */
  async remove({ user, key }: DueRow): Promise<boolean> {
    const row = this.#keys.row(key);
    await write(() =>
      this.#commands.send("the trimming of an index", (client) => client.zrem(this.#keys.userIndex(user), row)),
    );
    return this.settle({ user, key });
  }

  /** Forgets when a session was to end. @returns whether nobody else has */
  async settle(row: DueRow): Promise<boolean> {
    const removed = await write(() =>
      this.#commands.send("the trimming of an index", (client) => client.zrem(this.#keys.due, this.#due(row))),
    );
    return removed === 1;
  }

  /** Notes when a session will have ended, unless it is used. `at`: ms on the wall clock. */
  async expect(row: DueRow, at: number): Promise<void> {
    await write(() =>
      this.#commands.send("the indexing of a session", (client) =>
        client.zadd(this.#keys.due, "GT", Math.ceil(at), this.#due(row)),
      ),
    );
  }

  /** All rows of a user, the oldest first. */
  async rows(user: string): Promise<Row[]> {
    const reply = await read(() =>
      this.#commands.send("the listing of an index", (client) =>
        client.zrange(this.#keys.userIndex(user), 0, "-1", "WITHSCORES"),
      ),
    );
    return pairs(reply).map(([row, addedAt]) => ({ key: this.#keys.recordOfRow(row), addedAt: Number(addedAt) }));
  }

  /** Rows whose sessions may have ended by now. */
  async due(count: number): Promise<DueRow[]> {
    const rows = await read(() =>
      this.#commands.send("the sweep of the index", (client) =>
        client.zrangebyscore(this.#keys.due, "-inf", Date.now(), "LIMIT", 0, count),
      ),
    );
    return rows.map((row) => {
      const at = row.indexOf(" ");
      return { user: row.slice(0, at), key: this.#keys.recordOfRow(row.slice(at + 1)) };
    });
  }

  /** Whether a row is so old that the commit it was added for has arrived or never will. */
  isSettled({ addedAt }: Row): boolean {
    return addedAt + tombstoneMs(this.#options) < Date.now();
  }

  #due({ user, key }: DueRow): string {
    return `${user} ${this.#keys.row(key)}`;
  }
}

/** ioredis gives members and scores in turn under RESP2, in pairs under RESP3. */
function pairs(reply: readonly (string | readonly string[])[]): [string, string][] {
  const flat = reply.flat();
  return flat.flatMap((member, at) => (at % 2 === 0 ? [[member, flat[at + 1] ?? ""]] : []));
}
