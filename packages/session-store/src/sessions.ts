import { Commands } from "@lockstep/redis-kit";
import { Availability } from "./availability.ts";
import { Codec, CorruptRecord, type SessionFields, fieldsOf } from "./codec.ts";
import { type CommitOutcome, Committer } from "./committer.ts";
import { SessionStoreError } from "./errors.ts";
import { EventBus, type SessionListener } from "./event-bus.ts";
import { Events, type LifecycleEvent, type SessionCounts } from "./events.ts";
import { absoluteEnd, cookieExpires, decideIdleMs, lastSeenAt, recordLifeMs, touchIsDue } from "./expiry.ts";
import { forwardMark, readForward } from "./forward.ts";
import { type Keys, createKeys, handleOf } from "./keys.ts";
import { type ResolvedOptions, type SessionsOptions, resolveOptions } from "./options.ts";
import { Records } from "./records.ts";
import { SaveQueue } from "./save-queue.ts";
import { Sweep } from "./sweep.ts";
import { type Base, TrackedSession } from "./tracked-session.ts";
import { type DueRow, type Row, UserIndex } from "./user-index.ts";

/** A session among others, as an administrator sees it. */
export interface ListedSession {
  /** Its id where ids are plain, its handle where they are hashed. */
  readonly name: string;
  /** Its fields, `cookie` among them. */
  readonly fields: SessionFields;
}

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

/** A session that has a new id. */
export interface RotatedSession {
  /** Its tracker. */
  readonly tracked: TrackedSession;
  /** Its fields, with what others had changed merged in. */
  readonly fields: SessionFields;
}

/** How many records of a user are looked at at a time. */
const userBatch = 100;

/** How often a user's sessions are listed again to end those that came meanwhile. */
const maxPasses = 5;

/** The session engine. Both adapters, `session()` and `RedisStore`, are thin layers on it. */
export class Sessions {
  readonly #options: ResolvedOptions;
  readonly #keys: Keys;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #events: Events;
  readonly #index: UserIndex;
  readonly #bus: EventBus;
  readonly #availability: Availability;
  readonly #sweep: Sweep | undefined;
  readonly #queue = new SaveQueue();
  readonly #committer: Committer;

  /**
   * @param options see {@link SessionsOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: SessionsOptions) {
    this.#options = resolveOptions(options);
    const { client, prefix, ids, migrateFrom, migrateTo, commandDeadlineMs } = this.#options;
    this.#events = new Events(this.#options.onEvent);
    this.#availability = new Availability(new Commands(client, { deadlineMs: commandDeadlineMs }), this.#events);
    const { commands } = this.#availability;
    this.#keys = createKeys(prefix, ids, migrateFrom ? "from" : migrateTo && "to");
    this.#records = new Records(this.#options, { commands, keys: this.#keys });
    this.#codec = new Codec(this.#options.serializer);
    this.#index = new UserIndex(this.#options, { commands, keys: this.#keys });
    this.#bus = new EventBus(client, { channel: this.#records.channel, deadlineMs: commandDeadlineMs });
    this.#committer = new Committer(this.#options, {
      records: this.#records,
      codec: this.#codec,
      events: this.#events,
      index: this.#index,
      keys: this.#keys,
    });
    if (this.#options.userOf) {
      this.#sweep = new Sweep(this.#index, {
        everyMs: this.#options.sweepMs,
        lookAt: (row) => this.#lookAt(row),
        onError: (error) => {
          this.#events.report({ type: "index-failed", error });
        },
      });
    }
  }

  /** Stops what runs by itself: the sweep of the index, and the subscription to events. The client stays open. */
  close(): void {
    this.#sweep?.stop();
    this.#availability.stop();
    this.#bus.close();
  }

  /**
   * How often each event has happened since this engine was made.
   *
   * @returns a copy
   */
  counts(): SessionCounts {
    return this.#events.counts();
  }

  /**
   * Tracks a session that is born in this request; nothing is stored yet.
   *
   * @param id its id, from a CSPRNG
   * @returns its tracker
   */
  born(id: string): TrackedSession {
    return new TrackedSession(id);
  }

  /**
   * Reads a session: one round trip, nothing parsed (S5).
   *
   * @param id its id; a handle reads nothing
   * @returns its tracker, with another id where that was rotated a moment ago; `undefined` if there is no such session
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async load(id: string): Promise<TrackedSession | undefined> {
    try {
      const found = await this.#records.load(id);
      const base = found && this.#records.isToMove(found) ? await this.#move(found) : found;
      if (!base) return undefined;
      const tracked = new TrackedSession(base.id, base);
      tracked.endsAt = this.#endOf(base.text);
      return tracked.endsAt !== undefined && tracked.endsAt <= Date.now() ? undefined : tracked;
    } catch (error) {
      this.#reportCorrupt(error);
      return undefined;
    }
  }

  /**
   * The fields of a loaded session, for the caller to change. `cookie.expires` says when the record will be gone, at most
   * `maxAge` from now (S6).
   *
   * @param tracked what {@link Sessions.load} gave
   * @returns `undefined` if the record can't be used (S11); it stays in Redis for inspection until it expires
   */
  read(tracked: TrackedSession): SessionFields | undefined {
    const { base } = tracked;
    const decoded = base && this.#unlessCorrupt(() => this.#codec.decode(base.text));
    if (!decoded) return undefined;
    const cookie = decoded.fields.cookie as SessionFields;
    tracked.base = { ...base, head: { meta: decoded.meta, expires: cookie.expires } };
    const maxAge = cookie.originalMaxAge;
    if (typeof maxAge === "number") cookie.expires = cookieExpires(Date.now(), maxAge, tracked.remainingMs);
    return decoded.fields;
  }

  /**
   * Whether committing `session` now would store nothing. It is decided at once, without asking Redis.
   *
   * @param tracked its tracker
   * @param session its object, with `cookie`
   * @returns `false` where only a commit can tell: another save of it is under way, or it can't be stored at all
   */
  isUnchanged(tracked: TrackedSession, session: object): boolean {
    if (!this.#queue.isIdle(tracked.id)) return false;
    try {
      return this.#committer.holds(tracked.base, fieldsOf(session));
    } catch {
      return false;
    }
  }

  /**
   * Stores a session if it has changed, merged with what others have stored meanwhile (S1, S2, S3). Saves of one session
   * take turns in a process; what this one stores is what the object holds when its turn comes.
   *
   * @param tracked its tracker, which then knows what is stored
   * @param session its object, with `cookie`. Where others' changes were merged in, it is made to show them.
   * @returns what became of it
   * @throws {@link SessionStoreError} any code. After `OUTCOME_UNKNOWN` the same object may be committed again: what it
   * appended is not appended twice, unless more than eight commits came in between.
   */
  async commit(tracked: TrackedSession, session: object): Promise<CommitOutcome> {
    const deadline = performance.now() + this.#options.commitDeadlineMs;
    try {
      return await this.#queue.run(tracked.id, () => this.#commitWithinLimit(tracked, session, deadline));
    } catch (error) {
      this.#events.report({ type: "commit-failed", error: error as Error });
      throw error;
    }
  }

  /**
   * Records that a session was used (S5). It never creates a session, and never shortens a life.
   *
   * @param tracked what {@link Sessions.load} gave
   * @param options `always`: ask Redis even where a use within the last tenth of the idle limit is on record
   * @returns whether the session is known to have gone. It never rejects: a failure is the event `touch-failed`.
   */
  async touch(tracked: TrackedSession, options?: { readonly always: boolean }): Promise<"alive" | "gone" | "unknown"> {
    const { base } = tracked;
    if (!base) return "unknown";
    try {
      const idleMs = this.#unlessCorrupt(() => this.#idleMsOf(base.text));
      if (idleMs === undefined) return "unknown";
      const isDue = touchIsDue(tracked.recordLifeMs ?? Infinity, idleMs);
      if (!isDue && !options?.always) return "unknown";
      const lifeMs = recordLifeMs(idleMs);
      const seenAt = performance.now();
      const outcome = await this.#records.touch(base.key, lifeMs);
      if (outcome === "moved") return "unknown";
      if (outcome === "touched") {
        if (tracked.base === base && base.remainingMs !== undefined)
          tracked.base = { ...base, remainingMs: lifeMs, seenAt };
        return "alive";
      }
      this.#events.report({ type: "gone" });
      return "gone";
    } catch (error) {
      this.#events.report({ type: "touch-failed", error: error as Error });
      return "unknown";
    }
  }

  /**
   * Gives a session another id, with the same fields (S7). Its tracker and object are then of no more use.
   *
   * @param tracked its tracker
   * @param session its object, with `cookie`; what it has changed is stored with it
   * @param options `newId`: from a CSPRNG; `graceMs`: how long the old id still leads to the session, so that requests under
   * way stay signed in; default 0. It does not where `userOf` finds another user than before.
   * @returns `undefined`: the session had gone meanwhile, and nothing was stored
   * @throws {@link SessionStoreError} any code. After `OUTCOME_UNKNOWN` the old id may have ended.
   * @throws TypeError for a `graceMs` where it can't be told whether the user changed, or where connect-redis may read it
   */
  async rotate(
    tracked: TrackedSession,
    session: object,
    options: { readonly newId: string; readonly graceMs?: number | undefined },
  ): Promise<RotatedSession | undefined> {
    const { newId, graceMs = 0 } = options;
    if (graceMs > 0 && (!this.#options.userOf || this.#options.ids === "plain")) {
      throw new TypeError("Lockstep sessions: graceMs needs userOf and hashed ids.");
    }
    const deadline = performance.now() + this.#options.commitDeadlineMs;
    try {
      return await this.#queue.run(tracked.id, () =>
        this.#committer.rotate(tracked, session, { newId, graceMs }, deadline),
      );
    } catch (error) {
      this.#events.report({ type: "commit-failed", error: error as Error });
      throw error;
    }
  }

  /**
   * Ends a session everywhere: when this has returned, no server can read it or bring it back (S3). Named by
   * its id, it waits for the saves of it that this process has begun.
   *
   * @param idOrHandle its id or, where ids are hashed, its handle; one that is not there is no error
   * @param options `by`: who ends it, for the events
   * @throws {@link SessionStoreError} `UNAVAILABLE` or `OUTCOME_UNKNOWN`
   */
  async destroy(idOrHandle: string, options: { readonly by?: string | undefined } = {}): Promise<void> {
    const why = { reason: "request", ...(options.by !== undefined && { by: options.by }) } as const;
    await this.#queue.run(idOrHandle, async () => {
      for (const key of this.#keys.recordsNamed(idOrHandle)) await this.#end(key, why, idOrHandle);
    });
  }

  /**
   * The living sessions of a user, the oldest first. Needs `userOf`.
   *
   * @param user the user's id, as `userOf` gives it
   * @returns each with its handle; never a usable id
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async listForUser(user: string | number): Promise<UserSession[]> {
    const name = this.#keys.user(user);
    const listed: UserSession[] = [];
    for (const { key } of await this.#living(name)) {
      const session = await this.#describe(key);
      if (session) listed.push(session);
    }
    return listed;
  }

  /**
   * Ends sessions of a user everywhere: all, all but one, or one. Needs `userOf`. When this has returned, a session that was
   * in use is gone, and a sign-in that was under way has either come after it or is refused.
   *
   * @param user the user's id, as `userOf` gives it
   * @param options which, and who ends them
   * @returns how many have ended by this
   * @throws {@link SessionStoreError} `UNAVAILABLE` or `OUTCOME_UNKNOWN`: some may have ended
   */
  async destroyForUser(user: string | number, options: DestroyForUserOptions = {}): Promise<number> {
    const name = this.#keys.user(user);
    const { except, only, by } = options;
    const spared = except === undefined ? [] : [except, handleOf(except)];
    const why = { reason: "user", ...(by !== undefined && { by }) } as const;
    const isMeant = ({ key }: Row) => {
      const handle = this.#keys.handleOf(key);
      return !spared.includes(handle) && (only === undefined || handle === only);
    };
    let ended = 0;
    // Again, for those that got a new id or a new place meanwhile: their new row came before the old one went.
    for (let pass = 0; pass < maxPasses; pass += 1) {
      const rows = (await this.#index.rows(name)).filter(isMeant);
      if (rows.length === 0) break;
      for (const { key } of rows) {
        if (await this.#end(key, why)) ended += 1;
        await this.#index.remove({ user: name, key });
      }
    }
    return ended;
  }

  /**
   * What names a session to people and in events: it gives no access.
   *
   * @param id its id
   * @returns the SHA-256 of it, base64url
   */
  handleOf(id: string): string {
    return handleOf(id);
  }

  /**
   * Tells of sessions that begin and end on any server, over a connection of its own. Redis tells each at most once, and
   * nothing while that connection is down: then comes `missed`.
   *
   * @param listener told of each
   * @returns ends the subscription
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async subscribe(listener: SessionListener): Promise<() => void> {
    return this.#bus.subscribe(listener);
  }

  /**
   * Tells when Redis is given up for a while and when it answers again, which is then asked by a command now and then.
   *
   * @param listener told `false` and `true`
   */
  onAvailability(listener: (isAvailable: boolean) => void): void {
    this.#availability.listen(listener);
  }

  /**
   * Stores a session whatever is there: outside S1 and S3, for callers that have no tracker of it.
   *
   * @param id its id
   * @param session its fields, with `cookie`
   * @throws {@link SessionStoreError} any code but `CONFLICT`
   */
  async overwrite(id: string, session: object): Promise<void> {
    const key = (await this.load(id))?.base?.key ?? this.#records.keyFor(id);
    const { text, lifeMs, head } = this.#committer.encode(fieldsOf(session), undefined);
    if (lifeMs <= 0) {
      await this.#end(key, { reason: "request" }, id);
      return;
    }
    const { user } = head.meta;
    if (user != null) await this.#index.add(user, key, { lifeMs, max: Infinity }, this.#options.commandDeadlineMs);
    await this.#records.overwrite(key, text, lifeMs);
  }

  /**
   * The names of all sessions: ids where they are plain, handles where they are hashed. For administration, not for
   * requests: it walks all keys of each primary.
   *
   * @param batchSize how many keys Redis looks at per step
   * @returns batches; a name may come twice if keys move meanwhile
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async *names(batchSize: number): AsyncGenerator<string[]> {
    for await (const keys of this.#records.keys(batchSize)) yield keys.map((key) => this.#nameOf(key));
  }

  /**
   * All sessions; corrupt ones are left out. For administration, not for requests.
   *
   * @param batchSize how many keys Redis looks at per step
   * @returns batches, as of {@link Sessions.names}
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async *all(batchSize: number): AsyncGenerator<ListedSession[]> {
    for await (const records of this.#records.all(batchSize)) {
      yield records.flatMap(({ key, raw }) => {
        const decoded = this.#unlessCorrupt(() => this.#codec.decode(this.#records.open(raw, key)));
        return decoded ? [{ name: this.#nameOf(key), fields: decoded.fields }] : [];
      });
    }
  }

  /**
   * Ends all sessions.
   *
   * @param batchSize how many keys Redis looks at per step
   * @throws {@link SessionStoreError} `UNAVAILABLE` or `OUTCOME_UNKNOWN`
   */
  async clear(batchSize: number): Promise<void> {
    for await (const keys of this.#records.keys(batchSize)) {
      await Promise.all(keys.map((key) => this.#end(key, { reason: "all" })));
    }
  }

  /**
   * Ends the session whose record has this key, and what it has gone on as.
   *
   * @param id its id, where that is known: without it a forward can't be followed, and need not, since the index has its end
   * @returns whether a session has ended by this
   */
  async #end(key: string, why: Pick<LifecycleEvent, "reason" | "by">, id?: string): Promise<boolean> {
    const event = this.#committer.lifecycle("destroyed", key, why);
    const raw = await this.#records.destroy(key, event);
    if (!raw) return false;
    const forward = id === undefined ? undefined : readForward(raw, id);
    if (forward?.kind === "rotated") {
      for (const next of this.#keys.places(forward.id)) await this.#end(next, why, forward.id);
    }
    if (raw.startsWith(forwardMark)) return false;
    this.#events.report(event);
    const user = this.#userIn(raw, key);
    if (user != null) await this.#index.remove({ user, key });
    return true;
  }

  /** Whose record it was; nothing if it can't be read. */
  #userIn(raw: string, key: string): string | null | undefined {
    if (!this.#options.userOf) return undefined;
    try {
      return this.#codec.head(this.#records.open(raw, key)).user;
    } catch {
      return undefined;
    }
  }

  /** Commits, and keeps the user to `maxPerUser`. */
  async #commitWithinLimit(tracked: TrackedSession, session: object, deadline: number): Promise<CommitOutcome> {
    const { maxPerUser } = this.#options;
    if (!maxPerUser) return this.#committer.commit(tracked, session, deadline);
    const user = this.#index.userOf(fieldsOf(session));
    const before = tracked.base && this.#userIn(tracked.base.raw, tracked.base.key);
    try {
      const outcome = await this.#committer.commit(tracked, session, deadline);
      if (user != null && user !== before && maxPerUser.beyond === "oldest")
        await this.#endOldest(user, maxPerUser.sessions);
      return outcome;
    } catch (error) {
      const isFull = error instanceof SessionStoreError && error.code === "TOO_MANY_SESSIONS";
      // The index may hold some that have ended; looking takes them away.
      if (!isFull || user == null || (await this.#living(user)).length >= maxPerUser.sessions) throw error;
      return this.#committer.commit(tracked, session, deadline);
    }
  }

  async #endOldest(user: string, allowed: number): Promise<void> {
    const living = await this.#living(user);
    for (const { key } of living.slice(0, Math.max(0, living.length - allowed))) {
      await this.#end(key, { reason: "limit" });
      await this.#index.remove({ user, key });
    }
  }

  /** Moves a session to the key of the present scheme. */
  async #move(base: Base): Promise<Base | undefined> {
    const user = this.#userIn(base.raw, base.key);
    const key = this.#records.keyFor(base.id);
    if (user != null) {
      const lifeMs = base.remainingMs ?? Infinity;
      await this.#index.add(user, key, { lifeMs, max: Infinity }, this.#options.commandDeadlineMs);
    }
    const moved = await this.#records.move(base);
    if (user != null && moved?.key === key) await this.#index.remove({ user, key: base.key });
    return moved;
  }

  /** The rows of a user whose sessions live or are about to, the oldest first; the others are taken away. */
  async #living(user: string): Promise<Row[]> {
    const rows = await this.#index.rows(user);
    const living: Row[] = [];
    for (let at = 0; at < rows.length; at += userBatch) {
      const batch = rows.slice(at, at + userBatch);
      const states = await Promise.all(batch.map(async (row) => ({ row, lives: await this.#lives(row.key) })));
      for (const { row, lives } of states) {
        if (lives || !this.#index.isSettled(row)) living.push(row);
        else await this.#index.remove({ user, key: row.key });
      }
    }
    return living;
  }

  async #lives(key: string): Promise<boolean> {
    const raw = (await this.#records.peek(key))?.raw ?? "";
    return raw !== "" && !raw.startsWith(forwardMark);
  }

  async #describe(key: string): Promise<UserSession | undefined> {
    const reply = await this.#records.peek(key);
    if (!reply || reply.raw === "" || reply.raw.startsWith(forwardMark)) return undefined;
    const read = this.#unlessCorrupt(() => {
      const text = this.#records.open(reply.raw, key);
      return { ...this.#codec.decode(text), idleMs: this.#idleMsOf(text) };
    });
    if (!read) return undefined;
    const now = Date.now();
    const created = read.meta?.created;
    const recordEnd = now + (reply.remainingMs ?? Infinity);
    const end = Math.min(recordEnd, absoluteEnd(created, this.#options.absoluteMs) ?? Infinity);
    if (end <= now) return undefined;
    const date = (at: number | undefined) => (at === undefined || at === Infinity ? undefined : new Date(at));
    return {
      handle: this.#keys.handleOf(key),
      createdAt: date(created),
      lastSeenAt: date(lastSeenAt(now, read.idleMs, reply.remainingMs)),
      expiresAt: date(end),
      fields: read.fields,
    };
  }

  /** What the sweep finds at a row that is due: a session that was used since, or one that has ended. */
  async #lookAt(row: DueRow): Promise<void> {
    const reply = await this.#records.peek(row.key);
    const { raw = "", remainingMs } = reply ?? {};
    const isRecord = raw !== "" && !raw.startsWith(forwardMark);
    const now = Date.now();
    const limit = isRecord ? this.#unlessCorrupt(() => this.#endOf(this.#records.open(raw, row.key))) : undefined;
    if (isRecord && (limit === undefined || limit > now)) {
      if (remainingMs === undefined) await this.#index.settle(row);
      else await this.#index.expect(row, Math.min(now + remainingMs, limit ?? Infinity));
      return;
    }
    const event = this.#committer.lifecycle("expired", row.key);
    if (isRecord) await this.#records.destroy(row.key, event);
    // Of several sweeps the one that takes the row away tells; of a session that was destroyed or rotated others have told.
    const isMine = await this.#index.remove(row);
    if (!isMine || (reply && !isRecord)) return;
    this.#events.report(event);
    if (!isRecord) await this.#records.publish(event);
  }

  /** When the absolute limit ends a session: known without parsing the record (S5), where this engine wrote it. */
  #endOf(text: string): number | undefined {
    const { absoluteMs } = this.#options;
    return absoluteMs === undefined ? undefined : absoluteEnd(this.#codec.head(text).created, absoluteMs);
  }

  #idleMsOf(text: string): number {
    const { originalMaxAge } = this.#codec.head(text);
    return decideIdleMs(this.#options.idleMs, originalMaxAge, () => this.#codec.decode(text).fields);
  }

  /** A record's name among all: its id with plain ids, its handle with hashed ones. */
  #nameOf(key: string): string {
    return this.#keys.nameOf(key) ?? this.#keys.handleOf(key);
  }

  /** @throws what is not the matter of one record */
  #reportCorrupt(error: unknown): void {
    if (!(error instanceof CorruptRecord)) throw error;
    this.#events.report({ type: "corrupt", reason: error.message });
  }

  #unlessCorrupt<T>(decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      this.#reportCorrupt(error);
      return undefined;
    }
  }
}

/**
 * Makes a session engine.
 *
 * @param options see {@link SessionsOptions}
 * @returns the engine; `close()` stops its sweep and its subscriptions
 * @throws TypeError naming the first option that can't be meant
 */
export function createSessions(options: SessionsOptions): Sessions {
  return new Sessions(options);
}
