import { hasPassed } from "./expiry.ts";
import { holdsRecord, isForward } from "./forward.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { RecordReply } from "./scripts.ts";
import type { Row, Taken, UserIndex } from "./user-index.ts";

/** A row of the index beside its record. */
export interface Judged {
  readonly row: Row;
  /** What stands under its key. */
  readonly reply: RecordReply | undefined;
  /**
   * - `lives`: it is this user's;
   * - `over`: it is past its absolute limit, or what stands there says that it never comes back;
   * - `absent`: nothing stands there: it has expired, or is about to be stored;
   * - `another's`, `nobody's`: it has become so, or is about to become this user's;
   * - `unreadable`: here; another server may have the key to it.
   */
  readonly standing: "lives" | "over" | "absent" | "another's" | "nobody's" | "unreadable";
  /** When the absolute limit ends it, ms on the wall clock. */
  readonly endsAt?: number | undefined;
}

/** How many records are looked at at a time. */
const batchSize = 100;

/** How often rows are listed again for those that came meanwhile. */
const maxLooks = 10;

/** The rows of users, judged by their records: a row alone says nothing (S8). */
export class UserRows {
  readonly #records: Records;
  readonly #heads: RecordHeads;
  readonly #index: UserIndex;

  constructor(parts: { records: Records; heads: RecordHeads; index: UserIndex }) {
    this.#records = parts.records;
    this.#heads = parts.heads;
    this.#index = parts.index;
  }

  /** Takes a row away whose session is not this user's, unless it may become so. */
  async takeAway(row: Row, standing: Judged["standing"]): Promise<Taken> {
    if (standing === "unreadable") return { isGone: false, isMine: false, drafts: [] };
    return standing === "over" ? this.#index.remove(row) : this.#index.trim(row);
  }

  /**
   * The sessions of a user, each as its rows, judged: it has more than one while it is given a new id (S7) or a new place. The
   * oldest session first, and of its rows that which the others are to replace.
   */
  async sessionsOf(user: string): Promise<Judged[][]> {
    const known = new Set<string>();
    for (let look = 1; ; look += 1) {
      const rows = await this.#index.rows(user);
      const judged = new Map<string, Judged>();
      // Drafts last, in turn: one whose session was found to have got its id has its record by now.
      const others = rows.filter(({ origin }) => origin === undefined);
      for (const found of await inBatches(others, (row) => this.judge(row))) judged.set(found.row.key, found);
      for (const row of rows.filter(isDraft)) judged.set(row.key, await this.#judgeDraft(row, judged));
      const origins = new Set(rows.map(({ origin }) => origin));
      const replaced = [...judged.values()].filter(({ reply }) => reply !== undefined && isForward(reply.raw));
      // What has gone on since the rows were listed has a row that they lack. Once listed again, what lacks one has none.
      const lost = replaced.map(({ row }) => row.key).filter((key) => !origins.has(key) && !known.has(key));
      if (lost.length === 0 || look === maxLooks) return inGroups(rows.flatMap(({ key }) => judged.get(key) ?? []));
      for (const key of lost) known.add(key);
    }
  }

  /** A draft is dead, though its record lives, where nothing can lead to it any more. */
  async #judgeDraft(row: Row & { readonly origin: string }, judged: ReadonlyMap<string, Judged>): Promise<Judged> {
    const { user, origin } = row;
    // First: a session whose end was seen has not become its draft since. What is left of an id that was replaced is not empty.
    const session = judged.get(origin) ?? (await this.judge({ user, key: origin }));
    const found = await this.judge(row);
    const isOver = session.reply?.raw === "" || session.standing === "another's" || session.standing === "nobody's";
    return isOver ? { ...found, standing: "over" } : found;
  }

  /** What a row says, judged by the record: it may have gone since, or be somebody else's. */
  async judge(row: Row): Promise<Judged> {
    const reply = await this.#records.peek(row.key);
    if (!reply) return { row, reply, standing: "absent" };
    const { raw } = reply;
    if (!holdsRecord(raw)) return { row, reply, standing: "over" };
    if (isForward(raw)) return { row, reply, standing: "lives" }; // it is moving
    const owner = this.#heads.ownerOf(raw, row.key);
    if (owner === "unreadable") return { row, reply, standing: owner };
    if (owner !== row.user) return { row, reply, standing: owner == null ? "nobody's" : "another's" };
    const endsAt = this.#heads.unlessCorrupt(() => this.#heads.endOf(this.#records.open(raw, row.key)));
    return { row, reply, endsAt, standing: hasPassed(endsAt) ? "over" : "lives" };
  }
}

/**
 * The keys that a row's session has had, from the row's own to the first: a draft may have one itself, where its server died before
 * it could say that it has replaced its session. `origins`: what each is a draft of.
 */
export function pathFrom(key: string, origins: ReadonlyMap<string, string | undefined>): string[] {
  const path = new Set([key]);
  for (let at = origins.get(key); at !== undefined && !path.has(at); at = origins.get(at)) path.add(at);
  return [...path];
}

/** The rows of each session together, the sessions in the order of the rows. */
function inGroups(judged: readonly Judged[]): Judged[][] {
  const origins = new Map(judged.map(({ row: { key, origin } }) => [key, origin]));
  const sessions = new Map<string, { found: Judged; depth: number }[]>();
  for (const found of judged) {
    const path = pathFrom(found.row.key, origins);
    const first = path.at(-1) ?? "";
    sessions.set(first, [...(sessions.get(first) ?? []), { found, depth: path.length }]);
  }
  return [...sessions.values()].map((group) =>
    group.sort((one, two) => one.depth - two.depth).map(({ found }) => found),
  );
}

function isDraft(row: Row): row is Row & { readonly origin: string } {
  return row.origin !== undefined;
}

/** Does `work` for each, so many at a time. */
export async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += batchSize) {
    results.push(...(await Promise.all(items.slice(at, at + batchSize).map(work))));
  }
  return results;
}
