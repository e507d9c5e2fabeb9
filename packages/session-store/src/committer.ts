import { type SessionFields, Snapshot, fieldsOf } from "./codec.ts";
import { Attempts } from "./attempts.ts";
import type { Destruction } from "./destruction.ts";
import { type Encoded, type Encoder, maxRemembered } from "./encoder.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events, LifecycleEvent } from "./events.ts";
import { hasPassed } from "./expiry.ts";
import type { Keys } from "./keys.ts";
import { mergeSessions, rebasing } from "./merge.ts";
import type { Rebase } from "./rebase.ts";
import type { Change, Records } from "./records.ts";
import { show } from "./show.ts";
import type { TrackedSession } from "./tracked-session.ts";
import type { UserIndex } from "./user-index.ts";

/**
 * What became of a commit.
 *
 * - `unchanged`: there was nothing to store;
 * - `stored`: it is stored;
 * - `gone`: the session had been destroyed or had expired meanwhile, so nothing was stored.
 */
export type CommitOutcome = "unchanged" | "stored" | "gone";

/** What changes of sessions are made with. */
export interface ChangeParts {
  readonly keys: Keys;
  readonly records: Records;
  readonly encoder: Encoder;
  readonly rebase: Rebase;
  readonly index: UserIndex;
  readonly events: Events;
  readonly destruction: Destruction;
}

/** How a session is to be committed. */
export interface CommitOrder {
  readonly deadline: number;
  readonly maxRows: number;
  readonly changed: Snapshot | undefined;
}

/** Stores changed sessions: compare-and-set (S1), and a three-way merge where somebody else was first (S2). */
export class Committer {
  readonly #parts: ChangeParts;

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /**
   * Commits a session whose turn it is: see `Sessions.commit`.
   *
   * @param order `deadline`: on the monotonic clock, in ms; `maxRows`: how many sessions its user may have; `changed`: what the
   * session holds now, where that is known to be a change
   */
  async commit(tracked: TrackedSession, session: object, order: CommitOrder): Promise<CommitOutcome> {
    const { records, encoder, rebase, index, events, destruction } = this.#parts;
    const { deadline, maxRows } = order;
    const held = order.changed ?? new Snapshot(fieldsOf(session));
    if (!order.changed && encoder.holds(tracked.base, held)) return "unchanged";
    let { fields } = held;
    const conflicts: string[] = [];
    let { base } = tracked;
    let given: (() => SessionFields) | undefined;
    const attempts = new Attempts(deadline);
    for (;;) {
      const withinMs = attempts.begin();
      const encoded = encoder.encode(fields, base, fields === held.fields ? held : undefined);
      const { text, lifeMs, head, endsAt } = encoded;
      // The handler may go on changing its object: what it was is known by its text.
      given ??= once(() => encoder.read(text).fields);
      const key = base?.key ?? records.keyFor(tracked.id);
      if (lifeMs <= 0 || hasPassed(endsAt)) {
        await destruction.endNamed(base?.id ?? tracked.id, { reason: "request" });
        return lifeMs <= 0 ? "stored" : "gone";
      }
      const before = base && encoder.headOf(base).meta?.user;
      const { user } = head.meta;
      if (user != null && user !== before) await index.add(user, key, { lifeMs, endsAt, max: maxRows }, withinMs);
      // Of a life that is made shorter the sweep would not look for the end in time, or never.
      if (user != null && user === before && attempts.isFirst && lifeMs < (base?.remainingMs ?? Infinity)) {
        await index.hasten({ user, key }, { lifeMs, endsAt }, withinMs);
      }
      const seenAt = performance.now();
      const raw = records.seal(text, key);
      const event = base ? undefined : this.#born(key);
      const change = { expected: base?.raw, raw, lifeMs, event };
      const reply = await this.#send(tracked, { key, change, encoded, given }, withinMs);
      if (reply.outcome === "gone") {
        if (user != null) await index.delist({ user, key });
        return this.#tellGone();
      }
      if (reply.outcome === "stored") {
        if (event) events.report(event);
        // Only now, with the object made to build on it: it is what the object is compared with next.
        tracked.stored({ id: base?.id ?? tracked.id, key, raw, text, remainingMs: lifeMs, seenAt, head }, endsAt);
        if (!attempts.isFirst && fields !== given()) this.#reveal(session, given(), fields, conflicts);
        if (before != null && before !== user) await index.retire({ user: before, key });
        return "stored";
      }
      const mine = attempts.isFirst ? given() : fields;
      const rebased = await rebase.onto({ key, raw: reply.current }, { tracked, base, fields: mine, meta: head.meta });
      if (rebased.outcome === "gone") return this.#tellGone();
      // Where replicas are to have it, who knows whether they do: what has arrived is stored once more.
      if (rebased.outcome === "arrived" && !records.isDurable) {
        tracked.stored({ ...rebased.base, remainingMs: lifeMs, seenAt }, endsAt);
        this.#reveal(session, given(), rebased.fields, conflicts);
        return "stored";
      }
      if (rebased.outcome === "rebased") conflicts.push(...rebased.conflicts);
      ({ base, fields } = rebased);
    }
  }

  #born(key: string): LifecycleEvent {
    return { type: "created", handle: this.#parts.keys.handleOf(key) };
  }

  #tellGone(): "gone" {
    this.#parts.events.report({ type: "gone" });
    return "gone";
  }

  /** Sends a commit, and remembers it if its answer is lost. */
  async #send(
    tracked: TrackedSession,
    { key, change, encoded, given }: { key: string; change: Change; encoded: Encoded; given: () => SessionFields },
    withinMs: number,
  ) {
    try {
      return await this.#parts.records.commit(key, change, withinMs);
    } catch (error) {
      if (error instanceof SessionStoreError && error.code === "OUTCOME_UNKNOWN") {
        const lost = { write: encoded.head.meta.writes[0] ?? "", given: given() };
        tracked.unconfirmed = [lost, ...tracked.unconfirmed].slice(0, maxRemembered);
      }
      throw error;
    }
  }

  /** Makes the object show what is stored, and keep what its handler has changed since it was given. */
  #reveal(session: object, given: SessionFields, stored: SessionFields, conflicts: readonly string[]): void {
    this.#parts.events.report({ type: "merged", conflicts });
    const now = this.#parts.encoder.copy(session);
    show(session, now, mergeSessions(given, now, stored, rebasing).value);
  }
}

/** What `make` gives, made when it is first asked for. */
function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
