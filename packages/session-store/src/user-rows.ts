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

/** What became of a row that was to be taken away. */
export interface Taken {
  readonly isGone: boolean;
  /** Whether it was this that took it away. */
  readonly isMine: boolean;
  /** The rows of its drafts. */
  readonly drafts: readonly Row[];
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
    if (standing === "over") return { isGone: true, ...(await this.#index.remove(row)) };
    return this.#index.trim(row);
  }

  /**
   * The sessions of a user, each as its rows, judged: it has more than one while it is given a new id (S7) or a new place. The
   * oldest session first, and of its rows that which the others are to replace.
   */
  async sessionsOf(user: string): Promise<Judged[][]> {
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
      return inGroups(judged);
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

/** The rows of each session together. */
function inGroups(judged: readonly Judged[]): Judged[][] {
  const origins = new Map(judged.map(({ row: { key, origin } }) => [key, origin]));
  const places = new Map(judged.map(({ row }, place) => [row.key, place]));
  const sessions = new Map<string, { found: Judged; depth: number }[]>();
  for (const found of judged) {
    // A draft may have one itself, where its server died before it could say that it has replaced its session.
    const path = new Set<string>();
    let { key } = found.row;
    for (let origin = origins.get(key); origin !== undefined && !path.has(origin); origin = origins.get(key)) {
      path.add(key);
      key = origin;
    }
    sessions.set(key, [...(sessions.get(key) ?? []), { found, depth: path.size }]);
  }
  // A draft whose session has no row any more comes first: it is older than any that came meanwhile.
  const place = (key: string) => places.get(key) ?? -1;
  return [...sessions]
    .sort(([one], [two]) => place(one) - place(two))
    .map(([, group]) => group.sort((one, two) => one.depth - two.depth).map(({ found }) => found));
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
