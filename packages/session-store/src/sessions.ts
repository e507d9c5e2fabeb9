import { Commands, keyPrefixOf } from "@lockstep/redis-kit";
import { Availability } from "./availability.ts";
import { Codec, type SessionFields, Snapshot, fieldsOf } from "./codec.ts";
import { type CommitOutcome, Committer } from "./committer.ts";
import { Destruction } from "./destruction.ts";
import { Encoder } from "./encoder.ts";
import { EventBus, type SessionListener } from "./event-bus.ts";
import { Events, type SessionCounts } from "./events.ts";
import { cookieExpires, hasPassed, recordLifeMs, touchIsDue } from "./expiry.ts";
import { type Keys, createKeys, handleOf } from "./keys.ts";
import { Mover } from "./mover.ts";
import {
  type ResolvedOptions,
  type SessionsOptions,
  defaultScanCount,
  resolveOptions,
  tombstoneMs,
} from "./options.ts";
import { Rebase } from "./rebase.ts";
import { RecordHeads } from "./record-heads.ts";
import { Records } from "./records.ts";
import { type RotatedSession, Rotation } from "./rotation.ts";
import { SaveQueue } from "./save-queue.ts";
import { Sweep } from "./sweep.ts";
import { TrackedSession } from "./tracked-session.ts";
import { UserIndex } from "./user-index.ts";
import { UserLimiter } from "./user-limit.ts";
import { type DestroyForUserOptions, type UserSession, UserSessions } from "./user-sessions.ts";

/** A session among others, as an administrator sees it. */
export interface ListedSession {
  /** Its id where ids are plain, its handle where they are hashed. */
  readonly name: string;
  /** Its fields, `cookie` among them. */
  readonly fields: SessionFields;
}

/** The session engine. Both adapters, `session()` and `RedisStore`, are thin layers on it. */
export class Sessions {
  readonly #options: ResolvedOptions;
  readonly #keys: Keys;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #events: Events;
  readonly #index: UserIndex;
  readonly #heads: RecordHeads;
  readonly #destruction: Destruction;
  readonly #users: UserSessions;
  readonly #bus: EventBus;
  readonly #availability: Availability;
  readonly #sweep: Sweep | undefined;
  readonly #queue = new SaveQueue();
  readonly #encoder: Encoder;
  readonly #committer: Committer;
  readonly #rotation: Rotation;
  readonly #limiter: UserLimiter;
  readonly #mover: Mover;

  /**
   * @param options see {@link SessionsOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: SessionsOptions) {
    this.#options = resolveOptions(options);
    const { client, prefix, ids, migrateFrom, migrateTo, commandDeadlineMs } = this.#options;
    this.#events = new Events(this.#options.onEvent);
    const turns = new Commands(client, { deadlineMs: commandDeadlineMs });
    this.#availability = new Availability(turns, this.#options, this.#events);
    const { commands, writes } = this.#availability;
    this.#keys = createKeys(prefix, ids, migrateFrom ? "from" : migrateTo && "to", keyPrefixOf(client));
    this.#codec = new Codec(this.#options.serializer);
    const stored = { commands, writes, turns, keys: this.#keys, codec: this.#codec, events: this.#events };
    this.#records = new Records(this.#options, stored);
    this.#index = new UserIndex(this.#options, { commands, writes, keys: this.#keys, events: this.#events });
    this.#bus = new EventBus(client, { channel: this.#records.channel, deadlineMs: commandDeadlineMs });
    const parts = {
      records: this.#records,
      codec: this.#codec,
      events: this.#events,
      index: this.#index,
      keys: this.#keys,
    };
    this.#heads = new RecordHeads(this.#options, parts);
    this.#destruction = new Destruction(this.#options, { ...parts, heads: this.#heads });
    this.#encoder = new Encoder(this.#options, parts);
    const rebase = new Rebase(this.#options, { ...parts, encoder: this.#encoder });
    const changing = { ...parts, encoder: this.#encoder, rebase, destruction: this.#destruction };
    this.#committer = new Committer(changing);
    this.#rotation = new Rotation(changing);
    this.#users = new UserSessions({ ...changing, codec: this.#codec, heads: this.#heads });
    this.#mover = new Mover({ ...parts, heads: this.#heads }, commandDeadlineMs);
    this.#limiter = new UserLimiter(this.#options, { ...parts, heads: this.#heads, users: this.#users });
    if (this.#options.userOf) {
      this.#sweep = new Sweep(this.#index, {
        everyMs: this.#options.sweepMs,
        lookAt: (row) => this.#users.lookAt(row),
        onError: (error) => {
          this.#events.report({ type: "index-failed", error });
        },
      });
    }
  }

  /** Stops what runs by itself: the sweep of the index, the subscription to events, and near copies. The client stays open. */
  close(): void {
    this.#sweep?.stop();
    this.#availability.stop();
    this.#bus.close();
    this.#records.close();
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
      const base = found && this.#records.isToMove(found) ? await this.#mover.move(found) : found;
      if (!base) return undefined;
      const tracked = new TrackedSession(base.id, base, { askedAs: id });
      tracked.endsAt = this.#heads.endOf(base.text);
      return hasPassed(tracked.endsAt) ? undefined : tracked;
    } catch (error) {
      this.#heads.report(error);
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
    const decoded = base && this.#heads.unlessCorrupt(() => this.#codec.decode(base.text));
    if (!decoded) return undefined;
    const cookie = decoded.fields.cookie as SessionFields;
    tracked.base = { ...base, head: { meta: decoded.meta, expires: cookie.expires } };
    const maxAge = cookie.originalMaxAge;
    if (typeof maxAge === "number") cookie.expires = cookieExpires(Date.now(), maxAge, tracked.remainingMs);
    return decoded.fields;
  }

  /**
   * What a session holds, apart from its object.
   *
   * @internal
   * @param session its object, with `cookie`
   * @returns its fields, as they would be read back
   * @throws {@link SessionStoreError} `INVALID_SESSION`
   */
  copy(session: object): SessionFields {
    return this.#encoder.copy(session);
  }

  /**
   * Whether a loaded session is to be committed though nobody changes it: it was stored by a key that is being replaced, or
   * before there was an index or an absolute limit.
   *
   * @param tracked what {@link Sessions.load} gave
   */
  isOutdated({ base }: TrackedSession): boolean {
    return base !== undefined && this.#heads.unlessCorrupt(() => this.#encoder.isOutdated(base)) === true;
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
    return (await this.commitIfChanged(tracked, session)) ?? "unchanged";
  }

  /**
   * As {@link Sessions.commit}, for who need not wait where nothing has changed.
   *
   * @param tracked its tracker
   * @param session its object, with `cookie`
   * @returns `undefined`: there is nothing to store. It is told at once, unless another save of the session is under way.
   */
  commitIfChanged(tracked: TrackedSession, session: object): Promise<CommitOutcome> | undefined {
    let changed: Snapshot | undefined;
    if (this.#queue.isIdle(tracked.id)) {
      try {
        changed = new Snapshot(fieldsOf(session));
        if (this.#encoder.holds(tracked.base, changed)) return undefined;
      } catch {
        changed = undefined; // The commit fails in the same way.
      }
    }
    return this.#commit(tracked, session, changed);
  }

  async #commit(tracked: TrackedSession, session: object, changed: Snapshot | undefined): Promise<CommitOutcome> {
    const deadline = performance.now() + this.#options.commitDeadlineMs;
    const order = { deadline, maxRows: this.#limiter.maxRows };
    let now = changed;
    try {
      const commit = () => this.#committer.commit(tracked, session, { ...order, changed: now });
      const outcome = this.#limiter.keep(tracked, session, () => this.#queue.run(tracked.id, commit));
      // Whatever begins later takes the session as it is then.
      now = undefined;
      return await outcome;
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
    if (hasPassed(tracked.endsAt)) return "gone";
    try {
      const idleMs = this.#heads.unlessCorrupt(() => this.#heads.idleMsOf(base.text));
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
    if (!Number.isFinite(graceMs) || graceMs < 0) throw new TypeError("Lockstep sessions: graceMs must be 0 or more.");
    if (graceMs > 0 && (!this.#options.userOf || this.#options.ids === "plain")) {
      throw new TypeError("Lockstep sessions: graceMs needs userOf and hashed ids.");
    }
    const deadline = performance.now() + this.#options.commitDeadlineMs;
    try {
      const order = { newId, graceMs, tombstoneMs: tombstoneMs(this.#options), maxRows: this.#limiter.maxRows };
      const rotate = () => this.#rotation.rotate(tracked, session, order, deadline);
      return await this.#limiter.keep(tracked, session, () => this.#queue.run(tracked.id, rotate));
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
    await this.#queue.runLast(idOrHandle, () => this.#destruction.endNamed(idOrHandle, why));
  }

  /**
   * The living sessions of a user, the oldest first. Needs `userOf`.
   *
   * @param user the user's id, as `userOf` gives it
   * @returns each with its handle; never a usable id
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async listForUser(user: string | number): Promise<UserSession[]> {
    return this.#users.list(this.#keys.user(user));
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
    return this.#users.destroy(this.#keys.user(user), options);
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
    const base = (await this.load(id))?.base;
    const key = base?.key ?? this.#records.keyFor(id);
    const { text, lifeMs, endsAt, head } = this.#encoder.encode(fieldsOf(session), base);
    if (lifeMs <= 0) {
      await this.#destruction.endNamed(id, { reason: "request" });
      return;
    }
    const { user } = head.meta;
    const row = { lifeMs, endsAt, max: Infinity };
    if (user != null) await this.#index.add(user, key, row, this.#options.commandDeadlineMs);
    await this.#records.overwrite(key, text, lifeMs);
  }

  /**
   * The names of all sessions: ids where they are plain, handles where they are hashed. For administration, not for
   * requests: it walks all keys of each primary.
   *
   * @param batchSize how many keys Redis looks at per step; default 100
   * @returns batches; a name may come twice if keys move meanwhile
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async *names(batchSize = defaultScanCount): AsyncGenerator<string[]> {
    for await (const keys of this.#records.keys(batchSize)) yield keys.map((key) => this.#keys.nameOf(key));
  }

  /**
   * All sessions; corrupt ones are left out. For administration, not for requests.
   *
   * @param batchSize how many keys Redis looks at per step; default 100
   * @returns batches, as of {@link Sessions.names}
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async *all(batchSize = defaultScanCount): AsyncGenerator<ListedSession[]> {
    for await (const records of this.#records.all(batchSize)) {
      yield records.flatMap(({ key, raw }) => {
        const decoded = this.#heads.unlessCorrupt(() => this.#codec.decode(this.#records.open(raw, key)));
        return decoded ? [{ name: this.#keys.nameOf(key), fields: decoded.fields }] : [];
      });
    }
  }

  /**
   * Ends all sessions.
   *
   * @param batchSize how many keys Redis looks at per step; default 100
   * @throws {@link SessionStoreError} `UNAVAILABLE` or `OUTCOME_UNKNOWN`
   */
  async clear(batchSize = defaultScanCount): Promise<void> {
    for await (const keys of this.#records.keys(batchSize)) {
      await Promise.all(keys.map((key) => this.#destruction.end(key, { reason: "all" })));
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
