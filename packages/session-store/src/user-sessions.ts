import type { Codec, SessionFields } from "./codec.ts";
import type { Destruction, Why } from "./destruction.ts";
import type { Encoder } from "./encoder.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events, LifecycleEvent } from "./events.ts";
import { lastSeenAt } from "./expiry.ts";
import { isForward, readForward } from "./forward.ts";
import { type Keys, handleOf } from "./keys.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { RecordReply } from "./scripts.ts";
import { SessionNames } from "./session-names.ts";
import type { Row, UserIndex } from "./user-index.ts";
import { type Judged, UserRows, inBatches, pathFrom } from "./user-rows.ts";

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
  /**
   * The id or the handle of one that stays: the session in which somebody asks for this. It stays though it is given another
   * id meanwhile, or got one a moment ago; by a handle only while that is being done.
   */
  readonly except?: string | undefined;
  /** The handle of the only one to end; one that is not this user's is not ended. */
  readonly only?: string | undefined;
  /** Who ends them, for the events. */
  readonly by?: string | undefined;
}

/** How often a user's sessions are listed again to end those that came meanwhile. */
const maxPasses = 10;

/** S8: the sessions of a user, found by the index, judged by their records. `user`: the user's name in the index. */
export class UserSessions {
  readonly #keys: Keys;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #heads: RecordHeads;
  readonly #index: UserIndex;
  readonly #events: Events;
  readonly #destruction: Destruction;
  readonly #encoder: Encoder;
  readonly #rows: UserRows;

  constructor(parts: {
    keys: Keys;
    records: Records;
    codec: Codec;
    heads: RecordHeads;
    index: UserIndex;
    events: Events;
    destruction: Destruction;
    encoder: Encoder;
  }) {
    this.#keys = parts.keys;
    this.#records = parts.records;
    this.#codec = parts.codec;
    this.#heads = parts.heads;
    this.#index = parts.index;
    this.#events = parts.events;
    this.#destruction = parts.destruction;
    this.#encoder = parts.encoder;
    this.#rows = new UserRows(parts);
  }

  /** The living, the oldest first. */
  async list(user: string): Promise<UserSession[]> {
    return (await this.#living(user)).flatMap((rows) => this.#describe(rows));
  }

  /**
   * Ends all that are meant. @returns how many
   *
   * @throws {@link SessionStoreError} `UNAVAILABLE` where new ones kept coming
   */
  async destroy(user: string, { except, only, by }: DestroyForUserOptions): Promise<number> {
    const why: Why = { reason: "user", ...(by !== undefined && { by }) };
    const spared = new SessionNames(except === undefined ? [] : [except, handleOf(except)]);
    const wanted = only === undefined ? undefined : new SessionNames([only]);
    const isMeant = ({ key }: Row) => {
      const handle = this.#keys.handleOf(key);
      return !spared.has(handle) && (wanted === undefined || wanted.has(handle));
    };
    const origins = new Map<string, string | undefined>();
    const ended = new Set<string>();
    let spareId = except;
    // Again, for those that got a new id or a new place meanwhile: their new row came before the old one went.
    for (let pass = 0; pass < maxPasses; pass += 1) {
      const rows = await this.#index.rows(user);
      // After the rows: an id of what stays that was replaced before they were listed leads to the one that is.
      spareId = spareId === undefined ? undefined : await this.#lastIdOf(spareId, spared);
      const pairs = this.#pairsIn(rows);
      spared.join(pairs);
      wanted?.join(pairs);
      const meant = rows.filter(isMeant);
      const outcomes = await inBatches(meant, (row) => this.#end(row, why));
      for (const [at, { key, origin }] of meant.entries()) {
        origins.set(key, origin ?? origins.get(key));
        if (outcomes[at] === "ended") ended.add(key);
      }
      if (outcomes.every((outcome) => outcome === "left")) {
        return new Set([...ended].map((key) => pathFrom(key, origins).at(-1))).size;
      }
    }
    throw new SessionStoreError("UNAVAILABLE", "New sessions of the user kept coming; not all were ended. Try again.");
  }

  /** Ends the oldest, where there are more than allowed. Those that are about to be stored end others when they are. */
  async endOldest(user: string, allowed: number): Promise<void> {
    // Again, where others have ended some of them, or one got a new id meanwhile.
    for (let pass = 0; pass < maxPasses; pass += 1) {
      const living = await this.#living(user);
      const oldest = living.slice(0, Math.max(0, living.length - allowed));
      const outcomes = await inBatches(oldest, (rows) => this.#endAll(rows, { reason: "limit" }));
      if (outcomes.every((hasEnded) => hasEnded)) return;
    }
  }

  /** How many sessions of a user live, or are about to; what else is in the index is taken away. */
  async count(user: string): Promise<number> {
    const counted = await inBatches(await this.#rows.sessionsOf(user), async (rows) => {
      if (rows.some(lives)) return true;
      const taken = await Promise.all(rows.map(({ row, standing }) => this.#rows.takeAway(row, standing)));
      return !taken.every(({ isGone }) => isGone);
    });
    return counted.filter(Boolean).length;
  }

  /** What the sweep does with a row that is due: its session was used since, or it has ended. */
  async lookAt(row: Row): Promise<void> {
    const { standing, reply, endsAt } = await this.#rows.judge(row);
    if (standing === "lives") {
      const end = Math.min(Date.now() + (reply?.remainingMs ?? Infinity), endsAt ?? Infinity);
      if (end === Infinity) await this.#index.settle(row);
      else await this.#index.expect(row, end);
      return;
    }
    const { isGone, isMine, drafts } = await this.#rows.takeAway(row, standing);
    if (!isGone) await this.#index.expect(row, Date.now() + this.#index.settledMs);
    // Of several sweeps the one that takes the row away tells; of a session that was destroyed or rotated others have told.
    const isPastLimit = standing === "over" && endsAt !== undefined;
    // It goes on as its draft, or has expired with it: that is told of the draft.
    const isReplaced = standing === "absent" && drafts.length > 0;
    if (!isMine || isReplaced || !(standing === "absent" || isPastLimit)) return;
    const event: LifecycleEvent = { type: "expired", handle: this.#keys.handleOf(row.key) };
    this.#events.report(event);
    if (isPastLimit) await this.#records.destroy(row.key, event, { whole: false });
    else await this.#records.publish(event);
  }

  /** Ends a session by each of its rows, the first first. @returns whether one of them had it */
  async #endAll(rows: readonly Judged[], why: Why): Promise<boolean> {
    let hasEnded = false;
    for (const { row } of rows) if ((await this.#end(row, why)) === "ended") hasEnded = true;
    return hasEnded;
  }

  /**
   * @returns `left`: the row stays, and nothing of this user's is there, nor can it come but by a sign-in that begins after
   * this; `nothing`: none has ended by this, but it may have gone on under a row that was added since the rows were listed
   */
  async #end(row: Row, why: Why): Promise<"ended" | "nothing" | "left"> {
    const { standing, reply } = await this.#rows.judge(row);
    if (standing !== "lives" && (await this.#rows.takeAway(row, standing)).isGone) return "nothing";
    // The row is young. A sign-in under way that takes another's session over finds it changed, and adds its row anew.
    if (standing === "another's" && reply) return (await this.#renew(row.key, reply)) ? "left" : "nothing";
    const hasEnded = await this.#destruction.end(row.key, why);
    await this.#index.remove(row);
    return hasEnded ? "ended" : "nothing";
  }

  /** Stores a record anew, as it is. @returns whether it was still there */
  async #renew(key: string, { raw }: RecordReply): Promise<boolean> {
    const text = this.#encoder.renew(this.#records.open(raw, key));
    const reply = await this.#records.commit(key, {
      expected: raw,
      raw: this.#records.seal(text, key),
      lifeMs: "kept",
    });
    return reply.outcome === "stored";
  }

  async #living(user: string): Promise<Judged[][]> {
    return (await this.#rows.sessionsOf(user)).filter((rows) => rows.some(lives));
  }

  #describe(rows: readonly Judged[]): UserSession[] {
    const found = this.#recordOf(rows);
    if (!found) return [];
    const { key, raw, remainingMs } = found;
    const text = this.#heads.unlessCorrupt(() => this.#records.open(raw, key));
    const record = text === undefined ? undefined : this.#heads.unlessCorrupt(() => this.#codec.decode(text));
    if (text === undefined || !record) return [];
    const endsAt = this.#heads.unlessCorrupt(() => this.#heads.endOf(text));
    const now = Date.now();
    const date = (at: number | undefined) => (at === undefined || at === Infinity ? undefined : new Date(at));
    return [
      {
        handle: this.#keys.handleOf(key),
        createdAt: date(record.meta?.created),
        lastSeenAt: date(this.#lastSeenAt(now, text, remainingMs)),
        expiresAt: date(Math.min(now + (remainingMs ?? Infinity), endsAt ?? Infinity)),
        fields: record.fields,
      },
    ];
  }

  /** The record of a living session; of one that is moving and has not arrived, that which is on its way. */
  #recordOf(rows: readonly Judged[]): ({ key: string } & RecordReply) | undefined {
    const living = rows.filter(lives);
    const found = living.find(({ reply }) => reply && !isForward(reply.raw)) ?? living[0];
    if (!found?.reply) return undefined;
    const { row, reply } = found;
    const forward = readForward(reply.raw, "");
    if (forward?.kind !== "moved") return { key: row.key, ...reply };
    // Where it is to arrive it has the row of a draft.
    const key = rows.find(({ row: { origin } }) => origin === row.key)?.row.key;
    return key !== undefined && forward.record !== undefined ? { ...reply, key, raw: forward.record } : undefined;
  }

  #lastSeenAt(now: number, text: string, remainingMs: number | undefined): number | undefined {
    try {
      return lastSeenAt(now, this.#heads.idleMsOf(text), remainingMs);
    } catch {
      return undefined; // an idle limit that can't be decided, of one session, hides none
    }
  }

  /** The id that a session goes on under, by whatever ids since; `names` learns them all. */
  async #lastIdOf(id: string, names: SessionNames): Promise<string> {
    let last = id;
    for (let count = 0; count < maxPasses; count += 1) {
      const next = await this.#successorOf(last);
      if (next === undefined) break;
      names.add(handleOf(next));
      last = next;
    }
    return last;
  }

  /** Also where an id leads nobody: what is asked is only which session it was. */
  async #successorOf(id: string): Promise<string | undefined> {
    for (const key of this.#keys.places(id)) {
      const forward = readForward((await this.#records.peek(key))?.raw ?? "", id);
      if (forward !== undefined && forward.kind !== "moved") return forward.id;
    }
    return undefined;
  }

  /** The handles of drafts, each with that of its session. */
  #pairsIn(rows: readonly Row[]): [string, string][] {
    return rows.flatMap(({ key, origin }) =>
      origin === undefined ? [] : [[this.#keys.handleOf(key), this.#keys.handleOf(origin)]],
    );
  }
}

function lives({ standing }: Judged): boolean {
  return standing === "lives";
}
