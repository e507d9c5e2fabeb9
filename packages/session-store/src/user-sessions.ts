import type { Codec, SessionFields } from "./codec.ts";
import type { Destruction, Why } from "./destruction.ts";
import type { Events, LifecycleEvent } from "./events.ts";
import { lastSeenAt } from "./expiry.ts";
import { isForward } from "./forward.ts";
import { type Keys, handleOf } from "./keys.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { DueRow, Row, UserIndex } from "./user-index.ts";

/** One of a user's sessions, as the user may see it. */
export interface UserSession {
  /** Names it without giving access to it: the SHA-256 of its id, base64url. */
  readonly handle: string;
  /** When it was born; `undefined`: another store wrote it. */
  readonly createdAt: Date | undefined;
  /** When it was last used, to a tenth of its idle limit; `undefined`: uses are not recorded. */
  readonly lastSeenAt: Date | undefined;
  /** When it ends unless it is used, by its idle or its absolute limit; `undefined`: it does not expire. */
  readonly expiresAt: Date | undefined;
  /** Its fields, `cookie` among them. */
  readonly fields: SessionFields;
}

/** Which sessions of a user to end. */
export interface DestroyForUserOptions {
  /** The id or the handle of one that stays: the session in which somebody asks for this. */
  readonly except?: string | undefined;
  /** The handle of the only one to end; one that is not this user's is not ended. */
  readonly only?: string | undefined;
  /** Who ends them, for the events. */
  readonly by?: string | undefined;
}

/** How many records are looked at at a time. */
const batchSize = 100;

/** How often a user's sessions are listed again to end those that came meanwhile. */
const maxPasses = 5;

/** S8: the sessions of a user, found by the index, judged by their records. `user`: the user's name in the index. */
export class UserSessions {
  readonly #keys: Keys;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #heads: RecordHeads;
  readonly #index: UserIndex;
  readonly #events: Events;
  readonly #destruction: Destruction;

  constructor(parts: {
    keys: Keys;
    records: Records;
    codec: Codec;
    heads: RecordHeads;
    index: UserIndex;
    events: Events;
    destruction: Destruction;
  }) {
    this.#keys = parts.keys;
    this.#records = parts.records;
    this.#codec = parts.codec;
    this.#heads = parts.heads;
    this.#index = parts.index;
    this.#events = parts.events;
    this.#destruction = parts.destruction;
  }

  /** The living, the oldest first. */
  async list(user: string): Promise<UserSession[]> {
    const rows = await this.living(user);
    const listed = await inBatches(rows, ({ key }) => this.#describe(user, key));
    return listed.filter((session) => session !== undefined);
  }

  /** Ends all that are meant. @returns how many */
  async destroy(user: string, { except, only, by }: DestroyForUserOptions): Promise<number> {
    const spared = except === undefined ? [] : [except, handleOf(except)];
    const why: Why = { reason: "user", ...(by !== undefined && { by }) };
    const isMeant = ({ key }: Row) => {
      const handle = this.#keys.handleOf(key);
      return !spared.includes(handle) && (only === undefined || handle === only);
    };
    let ended = 0;
    // Again, for those that got a new id or a new place meanwhile: their new row came before the old one went.
    for (let pass = 0; pass < maxPasses; pass += 1) {
      const rows = (await this.#index.rows(user)).filter(isMeant);
      if (rows.length === 0) break;
      const outcomes = await inBatches(rows, (row) => this.#end(user, row, why));
      ended += outcomes.filter(Boolean).length;
    }
    return ended;
  }

  /** Ends the oldest, where there are more than allowed. */
  async endOldest(user: string, allowed: number): Promise<void> {
    const living = await this.living(user);
    const oldest = living.slice(0, Math.max(0, living.length - allowed));
    await inBatches(oldest, (row) => this.#end(user, row, { reason: "limit" }));
  }

  /** The rows whose sessions live or are about to, the oldest first; the others are taken away. */
  async living(user: string): Promise<Row[]> {
    const judged = await inBatches(await this.#index.rows(user), async (row) => {
      const raw = (await this.#records.peek(row.key))?.raw ?? "";
      if ((raw !== "" && !isForward(raw)) || !this.#index.isSettled(row)) return row;
      await this.#index.remove({ user, key: row.key });
      return undefined;
    });
    return judged.filter((row) => row !== undefined);
  }

  /** What the sweep does with a row that is due: its session was used since, or it has ended. */
  async lookAt(row: DueRow): Promise<void> {
    const reply = await this.#records.peek(row.key);
    const { raw = "", remainingMs } = reply ?? {};
    const isRecord = raw !== "" && !isForward(raw);
    const now = Date.now();
    const text = () => this.#records.open(raw, row.key);
    const limit = isRecord ? this.#heads.unlessCorrupt(() => this.#heads.endOf(text())) : undefined;
    if (isRecord && (limit === undefined || limit > now)) {
      const end = Math.min(now + (remainingMs ?? Infinity), limit ?? Infinity);
      if (end === Infinity) await this.#index.settle(row);
      else await this.#index.expect(row, end);
      return;
    }
    const event: LifecycleEvent = { type: "expired", handle: this.#keys.handleOf(row.key) };
    if (isRecord) await this.#records.destroy(row.key, event);
    // Of several sweeps the one that takes the row away tells; of a session that was destroyed or rotated others have told.
    const isMine = await this.#index.remove(row);
    if (!isMine || (reply && !isRecord)) return;
    this.#events.report(event);
    if (!isRecord) await this.#records.publish(event);
  }

  async #end(user: string, { key }: Row, why: Why): Promise<boolean> {
    const hasEnded = await this.#destruction.end(key, why);
    await this.#index.remove({ user, key });
    return hasEnded;
  }

  async #describe(user: string, key: string): Promise<UserSession | undefined> {
    const reply = await this.#records.peek(key);
    if (!reply || reply.raw === "" || isForward(reply.raw)) return undefined;
    const record = this.#heads.unlessCorrupt(() => {
      const text = this.#records.open(reply.raw, key);
      return { ...this.#codec.decode(text), idleMs: this.#heads.idleMsOf(text), endsAt: this.#heads.endOf(text) };
    });
    // The index may still name one that has become another user's, or is about to be this one's.
    if (record?.meta?.user !== user) return undefined;
    const now = Date.now();
    const end = Math.min(now + (reply.remainingMs ?? Infinity), record.endsAt ?? Infinity);
    if (end <= now) return undefined;
    const seen = lastSeenAt(now, record.idleMs, reply.remainingMs);
    return {
      handle: this.#keys.handleOf(key),
      createdAt: new Date(record.meta.created),
      lastSeenAt: seen === undefined ? undefined : new Date(seen),
      expiresAt: end === Infinity ? undefined : new Date(end),
      fields: record.fields,
    };
  }
}

async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += batchSize) {
    results.push(...(await Promise.all(items.slice(at, at + batchSize).map(work))));
  }
  return results;
}
