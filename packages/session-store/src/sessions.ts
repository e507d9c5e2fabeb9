import { Codec, CorruptRecord, type SessionFields, fieldsOf } from "./codec.ts";
import { type CommitOutcome, Committer } from "./committer.ts";
import { Events, type SessionCounts } from "./events.ts";
import { type Lifetime, cookieExpires, decideIdleMs, recordLifeMs, touchIsDue } from "./expiry.ts";
import { type ResolvedOptions, type SessionsOptions, resolveOptions } from "./options.ts";
import { Records } from "./records.ts";
import { SaveQueue } from "./save-queue.ts";
import { TrackedSession } from "./tracked-session.ts";

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
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #events: Events;
  readonly #queue = new SaveQueue();
  readonly #committer: Committer;

  /**
   * @param options see {@link SessionsOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: SessionsOptions) {
    this.#options = resolveOptions(options);
    this.#records = new Records(this.#options);
    this.#codec = new Codec(this.#options.serializer);
    this.#events = new Events(this.#options.onEvent);
    const parts = { records: this.#records, codec: this.#codec, events: this.#events };
    this.#committer = new Committer(this.#options, parts);
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
   * @returns its tracker, `undefined` if there is no such session
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async load(id: string): Promise<TrackedSession | undefined> {
    const seenAt = performance.now();
    const record = await this.#records.load(id);
    if (!record || this.#hasEnded(record.text)) return undefined;
    return new TrackedSession(id, { ...record, seenAt });
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
      return await this.#queue.run(tracked.id, () => this.#committer.commit(tracked, session, deadline));
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
      const lifetime = this.#unlessCorrupt(() => this.#lifetimeOf(base.text));
      if (!lifetime) return "unknown";
      const isDue = touchIsDue(tracked.remainingMs ?? Infinity, lifetime);
      if (!isDue && !options?.always) return "unknown";
      const lifeMs = recordLifeMs(lifetime);
      const seenAt = performance.now();
      if ((await this.#records.touch(tracked.id, lifeMs)) === "touched") {
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
   * Ends a session everywhere: when this has returned, no server can read it or bring it back (S3). Named by
   * its id, it waits for the saves of it that this process has begun.
   *
   * @param idOrHandle its id or, where ids are hashed, its handle; one that is not there is no error
   * @throws {@link SessionStoreError} `UNAVAILABLE` or `OUTCOME_UNKNOWN`
   */
  async destroy(idOrHandle: string): Promise<void> {
    await this.#queue.run(idOrHandle, () => this.#records.destroy(idOrHandle));
  }

  /**
   * Stores a session whatever is there: outside S1 and S3, for callers that have no tracker of it.
   *
   * @param id its id
   * @param session its fields, with `cookie`
   * @throws {@link SessionStoreError} any code but `CONFLICT`
   */
  async overwrite(id: string, session: object): Promise<void> {
    const fields = fieldsOf(session);
    const { text, lifeMs } = this.#committer.encode(fields, undefined);
    if (lifeMs > 0) await this.#records.overwrite(id, text, lifeMs);
    else await this.#records.destroy(id);
  }

  /**
   * The names of all sessions: ids where they are plain, handles where they are hashed. For administration, not for
   * requests: it walks all keys of each primary.
   *
   * @param batchSize how many keys Redis looks at per step
   * @returns batches; a name may come twice if keys move meanwhile
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  names(batchSize: number): AsyncGenerator<string[]> {
    return this.#records.names(batchSize);
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
      yield records.flatMap(({ name, text }) => {
        const decoded = this.#unlessCorrupt(() => this.#codec.decode(text));
        return decoded ? [{ name, fields: decoded.fields }] : [];
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
    await this.#records.clear(batchSize);
  }

  #hasEnded(text: string): boolean {
    const { absoluteMs } = this.#options;
    if (absoluteMs === undefined) return false;
    try {
      const { created } = this.#codec.head(text);
      return created !== undefined && created + absoluteMs <= Date.now();
    } catch {
      return false; // whoever reads it will tell
    }
  }

  #lifetimeOf(text: string): Lifetime {
    const { created, originalMaxAge } = this.#codec.head(text);
    const now = Date.now();
    const idleMs = decideIdleMs(this.#options.idleMs, originalMaxAge, () => this.#codec.decode(text).fields);
    return { now, created: created ?? now, idleMs, absoluteMs: this.#options.absoluteMs };
  }

  #unlessCorrupt<T>(decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.#events.report({ type: "corrupt", reason: error.message });
      return undefined;
    }
  }
}

/**
 * Makes a session engine.
 *
 * @param options see {@link SessionsOptions}
 * @returns the engine; it holds no connection of its own, so there is nothing to close
 * @throws TypeError naming the first option that can't be meant
 */
export function createSessions(options: SessionsOptions): Sessions {
  return new Sessions(options);
}
