import type { CircuitBreaker, RedisClient, Sender, Writer } from "@lockstep/redis-kit";
import type { SessionFields } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { Keys } from "./keys.ts";
import { type ResolvedOptions, tombstoneMs } from "./options.ts";
import { read, write } from "./records.ts";
import { type NamedRow, admitRow, promoteRow, trimRow } from "./scripts.ts";

/** How many sessions one user may have in any case, so that listing and ending them stays bounded. */
const maxRows = 10_000;

/** A session in the index of its user; its record is there or not: the index is a superset of the living. */
export interface Row {
  readonly user: string;
  /** The key of its record. */
  readonly key: string;
  /**
   * Of a draft: the key of its session's record, which it is to replace under another id (rotation.ts), or in another place
   * (mover.ts). The two rows are one session.
   */
  readonly origin?: string | undefined;
}

/** What became of a row that was to be taken away. */
export interface Taken {
  readonly isGone: boolean;
  /** Whether it was this that took it away. */
  readonly isMine: boolean;
  /** The rows of its drafts. */
  readonly drafts: readonly Row[];
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
  /** Of rows that must not be lost before their records are: in a Cluster those are on another node. */
  readonly #writes: Sender<Writer>;
  readonly #keys: Keys;
  readonly #events: Events;

  /** After so long the commit that a row was added for has arrived or never will, in ms. */
  readonly settledMs: number;

  constructor(
    options: ResolvedOptions,
    parts: { commands: CircuitBreaker; writes: Sender<Writer>; keys: Keys; events: Events },
  ) {
    this.#options = options;
    this.settledMs = tombstoneMs(options);
    this.#commands = parts.commands;
    this.#writes = parts.writes;
    this.#keys = parts.keys;
    this.#events = parts.events;
  }

  /**
   * What the index calls the user of these fields; `null`: nobody's; `undefined`: no index is kept.
   *
   * @throws {@link SessionStoreError} `INVALID_SESSION` if `userOf` gives what names nobody
   */
  userOf(fields: SessionFields): string | null | undefined {
    if (!this.#options.userOf) return undefined;
    const user = this.#options.userOf(fields);
    if (user == null) return null;
    try {
      return this.#keys.user(user);
    } catch (cause) {
      throw new SessionStoreError("INVALID_SESSION", "userOf gave no user's id; nothing was stored.", { cause });
    }
  }

  /**
   * Adds a session whose record is about to be stored.
   *
   * @param row `lifeMs`: how long that will live at least, `Infinity` for ever; `endsAt`: when the absolute limit ends it;
   * `max`: how many sessions there may be; `origin`: as in {@link Row}
   * @returns `stale`: nothing was added, since `origin` has no row: it has been replaced or has ended, or its row was lost
   * @throws {@link SessionStoreError} `TOO_MANY_SESSIONS`
   */
  async add(
    user: string,
    key: string,
    row: { lifeMs: number; endsAt?: number | undefined; max: number; origin?: string | undefined },
    withinMs: number,
  ): Promise<"added" | "stale"> {
    const end = Math.min(Date.now() + row.lifeMs, row.endsAt ?? Infinity);
    // First, so that the sweep finds the row whatever happens next. What lives for ever it need not find.
    if (end !== Infinity) await this.expect({ user, key }, end, withinMs);
    const limited = { ...this.#named({ user, key, origin: row.origin }), max: Math.min(row.max, maxRows) };
    const index = this.#keys.userIndex(user);
    const verdict = await write(() => admitRow(this.#writes, index, limited, withinMs));
    if (verdict === "added") return verdict;
    await this.settle({ user, key });
    if (verdict === "stale") return verdict;
    throw new SessionStoreError("TOO_MANY_SESSIONS", "The user has as many sessions as are allowed; not stored.");
  }

  /**
   * As {@link UserIndex.remove}, of a session and its drafts: what has gone is replaced by none. The index may hold more than lives,
   * so a failure is told and left to the sweep.
   */
  async delist(row: Row): Promise<void> {
    try {
      const { drafts } = await this.remove(row);
      for (const draft of drafts) await this.remove(draft);
    } catch (error) {
      this.#events.report({ type: "index-failed", error: error as Error });
    }
  }

  /** As {@link UserIndex.trim}, for a session that has become another's. A failure is told and left to the sweep. */
  async retire(row: Row): Promise<void> {
    await this.trim(row).catch((error: unknown) => {
      this.#events.report({ type: "index-failed", error: error as Error });
    });
  }

  /**
   * Makes a draft's row that of the session: it has replaced what it is a draft of. A failure is told; until the sweep both
   * rows are there, and count as one.
   */
  async promote({ user, key, origin }: Row & { readonly origin: string }): Promise<void> {
    const row = { row: this.#keys.row(key), origin: this.#keys.row(origin) };
    try {
      await write(() => promoteRow(this.#writes, this.#keys.userIndex(user), row));
      await this.settle({ user, key: origin });
    } catch (error) {
      this.#events.report({ type: "index-failed", error: error as Error });
    }
  }

  /** Takes away a session whose record has gone. */
  async remove(row: Row): Promise<Taken> {
    return this.#trim(row, 0);
  }

  /**
   * Takes away a row that names nothing of this user's, unless it is so young that the commit it was added for may be on its way.
   */
  async trim(row: Row): Promise<Taken> {
    return this.#trim(row, this.settledMs);
  }

  /** Forgets when a session was to end. @returns whether nobody else has */
  async settle(row: Row): Promise<boolean> {
    const removed = await write(() =>
      this.#commands.send<number | string>("the trimming of an index", (client) =>
        client.zrem(this.#keys.due, this.#due(row)),
      ),
    );
    return Number(removed) === 1; // a client with ioredis' `stringNumbers` gives text
  }

  /** Notes when a session will have ended, unless it is used. `at`: ms on the wall clock. */
  async expect(row: Row, at: number, withinMs?: number): Promise<void> {
    await this.#note("GT", row, at, withinMs);
  }

  /** Notes that a session is about to be given a life that ends sooner than was noted. Too soon does no harm: it is looked at. */
  async hasten(row: Row, { lifeMs, endsAt }: { lifeMs: number; endsAt: number | undefined }, withinMs: number) {
    const end = Math.min(Date.now() + lifeMs, endsAt ?? Infinity);
    if (end !== Infinity) await this.#note("LT", row, end, withinMs);
  }

  /** All rows of a user, the oldest first. A draft is as old as its session. */
  async rows(user: string): Promise<Row[]> {
    const list = (client: RedisClient) => client.zrange(this.#keys.userIndex(user), 0, "-1", "WITHSCORES");
    const reply: unknown[] = await read(() => this.#commands.send("the listing of an index", list));
    // A client of RESP3 gives pairs.
    const flat = reply.flat().map(String);
    const aged = flat.flatMap((row, at) => (at % 2 === 0 ? [{ row, age: Math.abs(Number(flat[at + 1])) }] : []));
    return aged.sort((one, two) => one.age - two.age).map(({ row }) => ({ user, ...this.#keys.recordOfRow(row) }));
  }

  /** Rows whose sessions may have ended by now. */
  async due(count: number): Promise<Row[]> {
    const rows = await read(() =>
      this.#commands.send("the sweep of the index", (client) =>
        client.zrangebyscore(this.#keys.due, "-inf", Date.now(), "LIMIT", 0, count),
      ),
    );
    return rows.map((row) => {
      const at = row.indexOf(" ");
      return { user: row.slice(0, at), key: this.#keys.recordOfRow(row.slice(at + 1)).key };
    });
  }

  /** Notes an end; where one is noted already, only a later (`GT`) or an earlier (`LT`) one. */
  async #note(which: "GT" | "LT", row: Row, at: number, withinMs?: number): Promise<void> {
    // ioredis' types have each condition by itself.
    const add = (client: RedisClient) => client.zadd(this.#keys.due, which as "GT", Math.ceil(at), this.#due(row));
    await write(() => this.#commands.send<unknown>("the indexing of a session", add, withinMs));
  }

  async #trim(row: Row, settledMs: number): Promise<Taken> {
    const { user, key } = row;
    const named = { ...this.#named(row), settledMs };
    const { verdict, drafts } = await write(() => trimRow(this.#commands, this.#keys.userIndex(user), named));
    const isGone = verdict !== "young";
    return {
      isGone,
      isMine: isGone && (await this.settle(row)),
      drafts: drafts.map((draft) => ({ user, key: this.#keys.recordOfRow(draft).key, origin: key })),
    };
  }

  #named({ key, origin }: Row): NamedRow {
    return { row: this.#keys.row(key), origin: origin === undefined ? undefined : this.#keys.row(origin) };
  }

  #due({ user, key }: Row): string {
    return `${user} ${this.#keys.row(key)}`;
  }
}
