import { randomBytes } from "node:crypto";
import {
  type Codec,
  CorruptRecord,
  type DecodedRecord,
  type RecordMeta,
  type SessionFields,
  fieldsOf,
} from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events, LifecycleEvent } from "./events.ts";
import { absoluteEnd, cookieExpires, decideIdleMs, recordLifeMs } from "./expiry.ts";
import { isForward, rotatedTo } from "./forward.ts";
import type { Keys } from "./keys.ts";
import { mergeSessions, withoutRules } from "./merge.ts";
import { type ResolvedOptions, tombstoneMs } from "./options.ts";
import type { Change, Records } from "./records.ts";
import { show } from "./show.ts";
import { type Base, TrackedSession } from "./tracked-session.ts";
import type { UserIndex } from "./user-index.ts";

/** How often a commit is tried. Each failure means that another server's commit went through, so somebody advances. */
const maxAttempts = 100;

/** How many commits a record remembers by name, and how many unconfirmed ones a request does. */
const maxRemembered = 8;

/**
 * What became of a commit.
 *
 * - `unchanged`: there was nothing to store;
 * - `stored`: it is stored;
 * - `gone`: the session had been destroyed or had expired meanwhile, so nothing was stored.
 */
export type CommitOutcome = "unchanged" | "stored" | "gone";

/** What the engine is made of, as its parts know each other. */
export interface EngineParts {
  readonly records: Records;
  readonly codec: Codec;
  readonly events: Events;
  readonly index: UserIndex;
  readonly keys: Keys;
}

/** What to store, and what change detection needs to know of it. */
interface Encoded {
  readonly text: string;
  readonly lifeMs: number;
  readonly head: { readonly meta: RecordMeta; readonly expires: unknown };
}

/** Stores changed sessions: compare-and-set (S1), and a three-way merge where somebody else was first (S2). */
export class Committer {
  readonly #options: ResolvedOptions;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #events: Events;
  readonly #index: UserIndex;
  readonly #keys: Keys;
  // Random per engine and counted within it: unique without asking for randomness at each commit.
  readonly #writer = randomBytes(6).toString("base64url");
  #writes = 0;

  constructor(options: ResolvedOptions, { records, codec, events, index, keys }: EngineParts) {
    this.#options = options;
    this.#records = records;
    this.#codec = codec;
    this.#events = events;
    this.#index = index;
    this.#keys = keys;
  }

  /** Commits a session whose turn it is: see `Sessions.commit`. `deadline`: on the monotonic clock, in ms. */
  async commit(tracked: TrackedSession, session: object, deadline: number): Promise<CommitOutcome> {
    let fields = fieldsOf(session);
    if (serializable(() => this.holds(tracked.base, fields))) return "unchanged";
    const conflicts: string[] = [];
    let { base } = tracked;
    let given: (() => SessionFields) | undefined;
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const withinMs = deadline - performance.now();
      if (withinMs <= 0) throw tooLate(attempt);
      const encoded = this.encode(fields, base);
      const { text, lifeMs, head } = encoded;
      // The handler may go on changing its object: what it was is known by its text.
      given ??= once(() => this.#readable(text).fields);
      const key = base?.key ?? this.#records.keyFor(tracked.id);
      if (lifeMs <= 0) {
        await this.#records.destroy(key, this.lifecycle("destroyed", key, { reason: "request" }));
        return "stored";
      }
      await this.#addToIndex(key, encoded, base, withinMs);
      const seenAt = performance.now();
      const raw = this.#records.seal(text, key);
      const event = base ? undefined : this.lifecycle("created", key);
      const change = { expected: base?.raw, raw, lifeMs, event };
      const reply = await this.#send(tracked, key, change, withinMs, { head, given });
      if (reply.outcome === "gone") {
        this.#events.report({ type: "gone" });
        await this.#removeFromIndex(key, head.meta.user);
        return "gone";
      }
      if (reply.outcome === "stored") {
        if (event) this.#events.report(event);
        // Only now, with the object made to build on it: it is what the object is compared with next.
        const before = base && this.#headOf(base).meta?.user;
        tracked.base = { id: base?.id ?? tracked.id, key, raw, text, remainingMs: finite(lifeMs), seenAt, head };
        tracked.endsAt = absoluteEnd(head.meta.created, this.#options.absoluteMs);
        if (attempt > 1 && fields !== given()) this.#reveal(session, given(), fields, conflicts);
        if (before !== head.meta.user) await this.#removeFromIndex(key, before);
        return "stored";
      }
      const current = await this.#currentOf(base?.id ?? tracked.id, key, reply.current);
      if (!current) {
        this.#events.report({ type: "gone" });
        return "gone";
      }
      const decoded = this.#readable(current.text);
      const writes = decoded.meta?.writes ?? [];
      if (writes.includes(head.meta.writes[0] ?? "")) {
        // The client sent it again after a lost connection; it had arrived, and perhaps others since.
        tracked.base = { ...current, remainingMs: finite(lifeMs), seenAt };
        this.#reveal(session, given(), decoded.fields, conflicts);
        return "stored";
      }
      if (base && current.key === base.key && current.raw === base.raw)
        throw unreadable(new Error("Its text is not UTF-8."));
      if (attempt === 1) fields = given();
      // Where it has only moved there is nothing to merge.
      if (current.text !== base?.text) {
        fields = this.#merge(this.#ancestor(tracked, base, writes), fields, decoded.fields, conflicts);
      }
      base = current;
    }
    throw tooLate(maxAttempts);
  }

  /**
   * Gives a stored session another id: see `Sessions.rotate`.
   *
   * The new record is written first, where nobody can find it yet; replacing the old one by a forward, if it is still what
   * was seen, is what decides.
   */
  async rotate(
    tracked: TrackedSession,
    session: object,
    { newId, graceMs }: { newId: string; graceMs: number },
    deadline: number,
  ): Promise<{ tracked: TrackedSession; fields: SessionFields } | undefined> {
    const newKey = this.#records.keyFor(newId);
    let fields = this.#copy(session);
    if (!tracked.base) return { tracked: new TrackedSession(newId), fields };
    let base: Base = tracked.base;
    const conflicts: string[] = [];
    let expected: string | undefined;
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const withinMs = deadline - performance.now();
      if (withinMs <= 0) throw tooLate(attempt);
      const encoded = this.encode(fields, base);
      const { text, lifeMs, head } = encoded;
      await this.#addToIndex(newKey, encoded, undefined, withinMs, Infinity);
      const seenAt = performance.now();
      const raw = this.#records.seal(text, newKey);
      const written = await this.#records.commit(newKey, { expected, raw, lifeMs }, withinMs);
      if (written.outcome !== "stored") {
        throw new SessionStoreError("CONFLICT", "The new id of the session is already in use; nothing was changed.");
      }
      expected = raw;
      const before = this.#headOf(base).meta?.user;
      // Fixation: whoever knew the id before somebody signed in with it must not be led to the new one.
      const forwards = graceMs > 0 && before === head.meta.user;
      const event = this.lifecycle("rotated", base.key);
      const change = { expected: base.raw, raw: forwards ? rotatedTo(base.id, newId) : "", event };
      const lives = forwards ? graceMs : tombstoneMs(this.#options);
      const reply = await this.#records.commit(base.key, { ...change, lifeMs: lives }, deadline - performance.now());
      const current: Base | undefined =
        reply.outcome === "conflict" ? await this.#currentOf(base.id, base.key, reply.current) : undefined;
      if (reply.outcome === "stored") {
        this.#events.report(event);
        await this.#removeFromIndex(base.key, before);
        const rotated = new TrackedSession(newId, {
          ...{ id: newId, key: newKey, raw, text, remainingMs: finite(lifeMs), seenAt, head },
        });
        rotated.endsAt = tracked.endsAt;
        return { tracked: rotated, fields };
      }
      if (!current) {
        this.#events.report({ type: "gone" });
        await this.#records.destroy(newKey, this.lifecycle("destroyed", newKey, { reason: "request" }));
        await this.#removeFromIndex(newKey, head.meta.user);
        return undefined;
      }
      fields = this.#merge(this.#readable(base.text).fields, fields, this.#readable(current.text).fields, conflicts);
      base = current;
    }
    throw tooLate(maxAttempts);
  }

  /** An event of the session whose record has this key. */
  lifecycle(
    type: LifecycleEvent["type"],
    key: string,
    why: Pick<LifecycleEvent, "reason" | "by"> = {},
  ): LifecycleEvent {
    return { type, handle: this.#keys.handleOf(key), ...why };
  }

  /** The record that stood in the way of a commit; where it has gone on, the one under its present key. */
  async #currentOf(id: string, key: string, raw: string): Promise<Base | undefined> {
    try {
      if (isForward(raw)) return await this.#records.load(id);
      const text = this.#records.open(raw, key);
      return { id, key, raw, text, remainingMs: undefined, seenAt: performance.now() };
    } catch (cause) {
      throw cause instanceof CorruptRecord ? unreadable(cause) : cause;
    }
  }

  /** S8: a session is in the index of its user before it is stored as theirs. */
  async #addToIndex(
    key: string,
    { head, lifeMs }: Encoded,
    base: Base | undefined,
    withinMs: number,
    max = this.#options.maxPerUser?.beyond === "reject" ? this.#options.maxPerUser.sessions : Infinity,
  ): Promise<void> {
    const { user } = head.meta;
    if (user == null || (base && this.#headOf(base).meta?.user === user)) return;
    const end = absoluteEnd(head.meta.created, this.#options.absoluteMs) ?? Infinity;
    await this.#index.add(user, key, { lifeMs: Math.min(lifeMs, end - Date.now()), max }, withinMs);
  }

  /** The index may hold more than lives, so a failure here is told and left to the sweep. */
  async #removeFromIndex(key: string, user: string | null | undefined): Promise<void> {
    if (user == null) return;
    await this.#index.remove({ user, key }).catch((error: unknown) => {
      this.#events.report({ type: "index-failed", error: error as Error });
    });
  }

  /** Sends a commit, and remembers it if its answer is lost. */
  async #send(
    tracked: TrackedSession,
    key: string,
    change: Change,
    withinMs: number,
    { head, given }: { head: { meta: RecordMeta }; given: () => SessionFields },
  ) {
    try {
      return await this.#records.commit(key, change, withinMs);
    } catch (error) {
      if (error instanceof SessionStoreError && error.code === "OUTCOME_UNKNOWN") {
        const lost = { write: head.meta.writes[0] ?? "", given: given() };
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

  /** The text to store, its life, and what change detection needs to know of it. */
  encode(fields: SessionFields, base: Base | undefined): Encoded {
    const before = base && this.#headOf(base).meta;
    const write = `${this.#writer}-${(this.#writes += 1).toString(36)}`;
    const writes = [write, ...(before?.writes ?? [])].slice(0, maxRemembered);
    const user = this.#userOf(fields, before);
    const meta: RecordMeta = {
      v: 1,
      created: before?.created ?? Date.now(),
      writes,
      ...(user !== undefined && { user }),
    };
    const text = serializable(() => this.#codec.encode(fields, meta));
    const [bytes, limit] = [Buffer.byteLength(text), this.#options.maxBytes];
    if (bytes > limit) {
      throw new SessionStoreError(
        "TOO_LARGE",
        `The session has ${bytes} bytes, more than maxBytes (${limit}); not stored.`,
      );
    }
    const { originalMaxAge, expires } = fields.cookie as SessionFields;
    const idleMs = decideIdleMs(this.#options.idleMs, originalMaxAge, () => this.#readable(text).fields);
    const lifeMs = recordLifeMs(idleMs);
    return { text, lifeMs, head: { meta, expires: expires instanceof Date ? expires.toJSON() : expires } };
  }

  /** Whether a record holds these fields already, as they would be stored now. */
  holds(base: Base | undefined, fields: SessionFields): boolean {
    if (base === undefined || this.isOutdated(base)) return false;
    const head = this.#headOf(base);
    return head.meta?.user === this.#userOf(fields, head.meta) && this.#codec.holds(base.text, head, fields);
  }

  /** Whether a record lacks what would be stored with it now. @throws CorruptRecord */
  isOutdated(base: Base): boolean {
    if (!this.#records.isCurrent(base)) return true;
    const { absoluteMs, userOf } = this.#options;
    if (absoluteMs === undefined && !userOf) return false;
    const { created, user } = this.#codec.head(base.text);
    return (absoluteMs !== undefined && created === undefined) || (userOf !== undefined && user === undefined);
  }

  /** Whose a session is; where no index is kept it stays whose it was. */
  #userOf(fields: SessionFields, before: RecordMeta | undefined): string | null | undefined {
    const user = this.#index.userOf(fields);
    return user === undefined ? before?.user : user;
  }

  #headOf(base: Base): NonNullable<Base["head"]> {
    if (base.head) return base.head;
    const { meta, fields } = this.#codec.decode(base.text);
    return { meta, expires: (fields.cookie as SessionFields).expires };
  }
}

function finite(lifeMs: number): number | undefined {
  return lifeMs === Infinity ? undefined : lifeMs;
}

/** What `make` gives, made when it is first asked for. */
function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
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
