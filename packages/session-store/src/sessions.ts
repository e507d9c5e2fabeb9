import { randomBytes } from "node:crypto";
import { Codec, CorruptRecord, type DecodedRecord, type RecordMeta, type SessionFields, fieldsOf } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import { Events, type SessionCounts } from "./events.ts";
import { type Lifetime, cookieExpires, recordLifeMs, touchIsDue } from "./expiry.ts";
import { mergeSessions, withoutRules } from "./merge.ts";
import { type ResolvedOptions, type SessionsOptions, resolveOptions } from "./options.ts";
import { Records } from "./records.ts";
import { SaveQueue } from "./save-queue.ts";
import { show } from "./show.ts";

/** How often a commit is tried. Each failure means that another server's commit went through, so somebody advances. */
const maxAttempts = 100;

/** How many commits a record remembers by name, and how many unconfirmed ones a request does. */
const maxRemembered = 8;

/** A record as last seen in Redis. */
interface Base {
  readonly text: string;
  /** Its remaining life when seen; `undefined`: it does not expire. */
  readonly remainingMs: number | undefined;
  /** When the question was sent, on the monotonic clock, in ms. */
  readonly seenAt: number;
  /** The parts of it that change detection sets aside. Known once the text was decoded. */
  readonly head?: { readonly meta: RecordMeta | undefined; readonly expires: unknown };
}

/**
 * One session in one request: which it is, and what was last seen of it in Redis.
 *
 * Keep it beside the session's object for as long as that is in use: a commit is compared with what was seen (S1), and
 * a session of which nothing was seen was born here, so it may be created (S3).
 */
export class TrackedSession {
  /** The session's id: a secret. */
  readonly id: string;
  /** @internal */
  base: Base | undefined;
  /** @internal Commits that were sent and not confirmed: their names, and the fields they were given before any merge. */
  unconfirmed: readonly { readonly write: string; readonly given: SessionFields }[] = [];

  /** @internal */
  constructor(id: string, base?: Base) {
    this.id = id;
    this.base = base;
  }

  /** Whether it was ever seen in Redis: loaded, or stored by this request. */
  get isStored(): boolean {
    return this.base !== undefined;
  }

  /** How long its record still lives, in ms, by what was last seen; `undefined`: it does not expire, or was never seen. */
  get remainingMs(): number | undefined {
    if (this.base?.remainingMs === undefined) return undefined;
    return this.base.remainingMs - (performance.now() - this.base.seenAt);
  }
}

/**
 * What became of a commit.
 *
 * - `unchanged`: there was nothing to store;
 * - `stored`: it is stored;
 * - `gone`: the session had been destroyed or had expired meanwhile, so nothing was stored.
 */
export type CommitOutcome = "unchanged" | "stored" | "gone";

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
  // Random per engine and counted within it: unique without asking for randomness at each commit.
  readonly #writer = randomBytes(6).toString("base64url");
  #writes = 0;

  /**
   * @param options see {@link SessionsOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: SessionsOptions) {
    this.#options = resolveOptions(options);
    this.#records = new Records(this.#options);
    this.#codec = new Codec(this.#options.serializer);
    this.#events = new Events(this.#options.onEvent);
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
      return this.#holds(tracked.base, fieldsOf(session));
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
      return await this.#queue.run(tracked.id, () => this.#commitInTurn(tracked, session, deadline));
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
    const { text, lifeMs } = this.#encode(fields, undefined);
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

  async #commitInTurn(tracked: TrackedSession, session: object, deadline: number): Promise<CommitOutcome> {
    const given = this.#copy(session);
    if (this.#holds(tracked.base, given)) return "unchanged";
    const conflicts: string[] = [];
    let { base } = tracked;
    let fields = given;
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const withinMs = deadline - performance.now();
      if (withinMs <= 0) throw tooLate(attempt);
      const { text, lifeMs, head } = this.#encode(fields, base);
      if (lifeMs <= 0) {
        await this.#records.destroy(tracked.id);
        return "stored";
      }
      const seenAt = performance.now();
      const reply = await this.#send(tracked, { expected: base?.text, text, lifeMs }, withinMs, { head, given });
      if (reply.outcome === "gone") {
        this.#events.report({ type: "gone" });
        return "gone";
      }
      if (reply.outcome === "stored") {
        // Only now, with the object made to build on it: it is what the object is compared with next.
        tracked.base = { text, remainingMs: lifeMs, seenAt, head };
        if (fields !== given) this.#reveal(session, given, fields, conflicts);
        return "stored";
      }
      const current = this.#readable(reply.current);
      const writes = current.meta?.writes ?? [];
      if (writes.includes(head.meta.writes[0] ?? "")) {
        // The client sent it again after a lost connection; it had arrived, and perhaps others since.
        tracked.base = { text: reply.current, remainingMs: lifeMs, seenAt };
        this.#reveal(session, given, current.fields, conflicts);
        return "stored";
      }
      if (reply.current === base?.text) throw unreadable(new Error("Its text is not UTF-8."));
      fields = this.#merge(this.#ancestor(tracked, base, writes), fields, current.fields, conflicts);
      base = { text: reply.current, remainingMs: undefined, seenAt };
    }
    throw tooLate(maxAttempts);
  }

  /** Sends a commit, and remembers it if its answer is lost. */
  async #send(
    tracked: TrackedSession,
    change: Parameters<Records["commit"]>[1],
    withinMs: number,
    { head, given }: { head: { meta: RecordMeta }; given: SessionFields },
  ) {
    try {
      return await this.#records.commit(tracked.id, change, withinMs);
    } catch (error) {
      if (error instanceof SessionStoreError && error.code === "OUTCOME_UNKNOWN") {
        const lost = { write: head.meta.writes[0] ?? "", given };
        tracked.unconfirmed = [lost, ...tracked.unconfirmed].slice(0, maxRemembered);
      }
      throw error;
    }
  }

  /** What the fields being committed and the current record both come from; `writes`: the commits behind that record. */
  #ancestor(tracked: TrackedSession, base: Base | undefined, writes: readonly string[]): SessionFields {
    // An earlier commit of this very object did arrive: the object builds on what it was then.
    const arrived = tracked.unconfirmed.find(({ write }) => writes.includes(write));
    if (arrived) return arrived.given;
    if (base) return this.#readable(base.text).fields;
    throw new SessionStoreError("CONFLICT", "The new session's id is already in use; nothing was stored.");
  }

  /** Makes the object show what is stored, and keep what its handler has changed since it was given. */
  #reveal(session: object, given: SessionFields, stored: SessionFields, conflicts: readonly string[]): void {
    this.#events.report({ type: "merged", conflicts });
    const now = this.#copy(session);
    show(session, now, mergeSessions(given, now, stored, withoutRules).value);
  }

  #merge(base: SessionFields, mine: SessionFields, theirs: SessionFields, conflicts: string[]): SessionFields {
    const [before, ours, others] = [withoutExpires(base), withoutExpires(mine), withoutExpires(theirs)];
    const merged = mergeSessions(before, ours, others, this.#options.mergeRules);
    if (this.#options.rejectConflicts && merged.conflicts.length > 0) {
      throw new SessionStoreError("CONFLICT", `Changed by two requests: ${merged.conflicts.join(", ")}; not stored.`);
    }
    conflicts.push(...merged.conflicts);
    return withExpires(merged.value, mine);
  }

  /** A session's fields as they would be read back: the handler may go on changing its object, which may hold anything. */
  #copy(session: object): SessionFields {
    return serializable(() => this.#codec.decode(this.#codec.encode(fieldsOf(session), undefined)).fields);
  }

  #readable(text: string): DecodedRecord {
    try {
      return this.#codec.decode(text);
    } catch (cause) {
      throw unreadable(cause);
    }
  }

  #encode(fields: SessionFields, base: Base | undefined) {
    const now = Date.now();
    const before = base && this.#headOf(base).meta;
    const created = before?.created ?? now;
    const write = `${this.#writer}-${(this.#writes += 1).toString(36)}`;
    const meta: RecordMeta = { v: 1, created, writes: [write, ...(before?.writes ?? [])].slice(0, maxRemembered) };
    const text = serializable(() => this.#codec.encode(fields, meta));
    const [bytes, limit] = [Buffer.byteLength(text), this.#options.maxBytes];
    if (bytes > limit) {
      throw new SessionStoreError(
        "TOO_LARGE",
        `The session has ${bytes} bytes, more than maxBytes (${limit}); not stored.`,
      );
    }
    const { originalMaxAge, expires } = fields.cookie as SessionFields;
    const idleMs = this.#idleMs(originalMaxAge, () => fields);
    const lifeMs = recordLifeMs({ now, created, idleMs, absoluteMs: this.#options.absoluteMs });
    return { text, lifeMs, head: { meta, expires: expires instanceof Date ? expires.toJSON() : expires } };
  }

  #holds(base: Base | undefined, fields: SessionFields): boolean {
    return base !== undefined && this.#codec.holds(base.text, this.#headOf(base), fields);
  }

  #headOf(base: Base): NonNullable<Base["head"]> {
    if (base.head) return base.head;
    const { meta, fields } = this.#codec.decode(base.text);
    return { meta, expires: (fields.cookie as SessionFields).expires };
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
    const idleMs = this.#idleMs(originalMaxAge, () => this.#codec.decode(text).fields);
    return { now, created: created ?? now, idleMs, absoluteMs: this.#options.absoluteMs };
  }

  #idleMs(originalMaxAge: unknown, fields: () => SessionFields): number {
    const { idleMs } = this.#options;
    if (typeof idleMs !== "function") return typeof originalMaxAge === "number" ? originalMaxAge : idleMs;
    const decided = idleMs(fields());
    if (typeof decided === "number" && !Number.isNaN(decided)) return decided;
    throw new SessionStoreError("INVALID_SESSION", "The idle limit that was decided for the session is not a number.");
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

function tooLate(attempt: number): SessionStoreError {
  if (attempt === 1) {
    return new SessionStoreError("UNAVAILABLE", "Earlier saves of the session took until the deadline; not stored.");
  }
  return new SessionStoreError("CONFLICT", "Others kept changing the session until the deadline; nothing was stored.");
}

function unreadable(cause: unknown): SessionStoreError {
  return new SessionStoreError("INVALID_SESSION", "The stored record can't be read; it was left as it is.", { cause });
}

/** Every server moves `cookie.expires` at every save: it is computed, not merged. */
function withoutExpires(fields: SessionFields): SessionFields {
  const { expires: _moving, ...cookie } = fields.cookie as SessionFields;
  return { ...fields, cookie };
}

function withExpires(merged: SessionFields, mine: SessionFields): SessionFields {
  const cookie = merged.cookie as SessionFields;
  const ours = mine.cookie as SessionFields;
  const { originalMaxAge } = cookie;
  if (originalMaxAge === ours.originalMaxAge) return { ...merged, cookie: { ...cookie, expires: ours.expires } };
  const expires = typeof originalMaxAge === "number" ? cookieExpires(Date.now(), originalMaxAge, undefined) : null;
  return { ...merged, cookie: { ...cookie, expires } };
}

function serializable<T>(encode: () => T): T {
  try {
    return encode();
  } catch (cause) {
    throw new SessionStoreError("INVALID_SESSION", "The session can't be serialised; nothing was stored.", { cause });
  }
}
