import { randomBytes } from "node:crypto";
import { type Codec, type DecodedRecord, type RecordMeta, type SessionFields, fieldsOf } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events } from "./events.ts";
import { cookieExpires, decideIdleMs, recordLifeMs } from "./expiry.ts";
import { mergeSessions, withoutRules } from "./merge.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Records } from "./records.ts";
import { show } from "./show.ts";
import type { Base, TrackedSession } from "./tracked-session.ts";

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

/** Stores changed sessions: compare-and-set (S1), and a three-way merge where somebody else was first (S2). */
export class Committer {
  readonly #options: ResolvedOptions;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #events: Events;
  // Random per engine and counted within it: unique without asking for randomness at each commit.
  readonly #writer = randomBytes(6).toString("base64url");
  #writes = 0;

  constructor(options: ResolvedOptions, parts: { records: Records; codec: Codec; events: Events }) {
    this.#options = options;
    this.#records = parts.records;
    this.#codec = parts.codec;
    this.#events = parts.events;
  }

  /** Commits a session whose turn it is: see `Sessions.commit`. `deadline`: on the monotonic clock, in ms. */
  async commit(tracked: TrackedSession, session: object, deadline: number): Promise<CommitOutcome> {
    const given = this.#copy(session);
    if (this.holds(tracked.base, given)) return "unchanged";
    const conflicts: string[] = [];
    let { base } = tracked;
    let fields = given;
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const withinMs = deadline - performance.now();
      if (withinMs <= 0) throw tooLate(attempt);
      const { text, lifeMs, head } = this.encode(fields, base);
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

  /** The text to store, its life, and what change detection needs to know of it. */
  encode(fields: SessionFields, base: Base | undefined) {
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
    const idleMs = decideIdleMs(this.#options.idleMs, originalMaxAge, () => fields);
    const lifeMs = recordLifeMs({ now, created, idleMs, absoluteMs: this.#options.absoluteMs });
    return { text, lifeMs, head: { meta, expires: expires instanceof Date ? expires.toJSON() : expires } };
  }

  /** Whether a record holds these fields already. */
  holds(base: Base | undefined, fields: SessionFields): boolean {
    return base !== undefined && this.#codec.holds(base.text, this.#headOf(base), fields);
  }

  #headOf(base: Base): NonNullable<Base["head"]> {
    if (base.head) return base.head;
    const { meta, fields } = this.#codec.decode(base.text);
    return { meta, expires: (fields.cookie as SessionFields).expires };
  }
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
