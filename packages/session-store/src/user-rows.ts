import { hasPassed } from "./expiry.ts";
import { holdsRecord, isForward, isReplaced } from "./forward.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { RecordReply } from "./scripts.ts";
import type { Row, UserIndex } from "./user-index.ts";

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
  async takeAway(row: Row, standing: Judged["standing"]): Promise<{ isGone: boolean; isMine: boolean }> {
    if (standing === "unreadable") return { isGone: false, isMine: false };
    if (standing === "over") return { isGone: true, isMine: await this.#index.remove(row) };
    return this.#index.trim(row);
  }

  /** The rows of a user, judged: one for each session, though it has two while it is given a new id (S7). */
  async sessionsOf(user: string): Promise<Judged[]> {
    const known = new Set<string>();
    for (let look = 1; ; look += 1) {
      const rows = await this.#index.rows(user);
      const [drafts, others] = [rows.filter(isDraft), rows.filter((row) => !isDraft(row))];
      const judged = await inBatches(others, (row) => this.judge(row));
      const origins = new Set(drafts.map(({ origin }) => origin));
      const replaced = judged.filter(({ reply }) => reply !== undefined && isReplaced(reply.raw));
      // What has got a new id since the rows were listed has a row that they lack. Once listed again, what lacks one has none.
      const lost = replaced.map(({ row }) => row.key).filter((key) => !origins.has(key) && !known.has(key));
      if (lost.length > 0 && look < maxLooks) {
        for (const key of lost) known.add(key);
        continue;
      }
      // Drafts last, in turn: one whose session was found to have got its id has its record by now.
      for (const row of drafts) judged.push(await this.judge(row));
      return oneEach(judged);
    }
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

/** Of rows that are one session the one that is it, at the place of its old one; where all are dead, all. */
function oneEach(judged: readonly Judged[]): Judged[] {
  const rows = new Map(judged.map((found) => [found.row.key, found]));
  const places = new Map(judged.map(({ row }, place) => [row.key, place]));
  const hasGone = (key: string) => isDead(rows.get(key)?.standing ?? "over");
  const standing = judged.filter(({ row: { origin } }) => origin === undefined || hasGone(origin));
  const followed = new Set(standing.filter(({ standing }) => !isDead(standing)).map(({ row }) => row.origin));
  // A draft whose session has no row any more comes first: it is older than any that came meanwhile.
  const place = ({ row: { key, origin = key } }: Judged) => places.get(origin) ?? -1;
  return standing
    .filter((found) => !(isDead(found.standing) && followed.has(found.row.key)))
    .sort((one, two) => place(one) - place(two));
}

function isDead(standing: Judged["standing"]): boolean {
  return standing === "over" || standing === "absent";
}

function isDraft({ origin }: Row): boolean {
  return origin !== undefined;
}

/** Does `work` for each, so many at a time. */
export async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += batchSize) {
    results.push(...(await Promise.all(items.slice(at, at + batchSize).map(work))));
  }
  return results;
}
