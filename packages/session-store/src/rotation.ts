import { Attempts } from "./attempts.ts";
import type { SessionFields } from "./codec.ts";
import type { ChangeParts } from "./committer.ts";
import type { Encoded } from "./encoder.ts";
import { SessionStoreError } from "./errors.ts";
import type { LifecycleEvent } from "./events.ts";
import { hasPassed } from "./expiry.ts";
import { endedAs, leadingNowhere, rotatedTo } from "./forward.ts";
import type { Change } from "./records.ts";
import { type Base, TrackedSession } from "./tracked-session.ts";
import type { Row } from "./user-index.ts";

/** A session that has a new id. */
export interface RotatedSession {
  /** Its tracker. */
  readonly tracked: TrackedSession;
  /** Its fields, with what others had changed merged in. */
  readonly fields: SessionFields;
  /** What its object held when the rotation began: what it has become since is not stored. */
  readonly given: SessionFields;
}

/** What a rotation was asked for. */
export interface RotationOrder {
  readonly newId: string;
  /** How long the old id leads to the new. */
  readonly graceMs: number;
  /** How long an old id that leads nowhere is remembered, in ms. */
  readonly tombstoneMs: number;
  /** How many sessions its user may have, where that is another than before. */
  readonly maxRows: number;
}

/**
 * Gives sessions another id (S7).
 *
 * The new record is written first, where nobody can find it yet; replacing the old one, if it is still what was seen, is what
 * decides.
 */
export class Rotation {
  readonly #parts: ChangeParts;

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /** See `Sessions.rotate`. `deadline`: on the monotonic clock, in ms. */
  async rotate(
    tracked: TrackedSession,
    session: object,
    order: RotationOrder,
    deadline: number,
  ): Promise<RotatedSession | undefined> {
    const { records, encoder } = this.#parts;
    const fields = encoder.copy(session);
    if (!tracked.base) return { tracked: new TrackedSession(order.newId), fields, given: fields };
    const newKey = records.keyFor(order.newId);
    // Before the index is told: it would take that session for this one's draft.
    if (await records.peek(newKey)) throw idInUse();
    const draft: Draft = { key: newKey, raw: undefined, row: undefined };
    try {
      const rotated = await this.#rotate(tracked, { base: tracked.base, fields, draft }, order, deadline);
      if (!rotated) await this.#discard(draft, order);
      return rotated;
    } catch (error) {
      // Where the old record may lead to it by now it must stay.
      if (!(error instanceof SwapUnknown)) await this.#discard(draft, order);
      throw error instanceof SwapUnknown ? error.cause : error;
    }
  }

  async #rotate(
    tracked: TrackedSession,
    start: { base: Base; fields: SessionFields; draft: Draft },
    order: RotationOrder,
    deadline: number,
  ): Promise<RotatedSession | undefined> {
    const { encoder, rebase, events, destruction } = this.#parts;
    const conflicts: string[] = [];
    let { base, fields } = start;
    const attempts = new Attempts(deadline);
    for (;;) {
      const withinMs = attempts.begin();
      const encoded = encoder.encode(fields, base);
      if (encoded.lifeMs <= 0 || hasPassed(encoded.endsAt)) {
        await destruction.endNamed(base.id, { reason: "request" });
        return undefined;
      }
      const attempt = { base, draft: start.draft, encoded, arrivedAs: tracked.arrivedAs };
      const result = await this.#attempt(attempt, order, { withinMs, deadline });
      if (result.outcome === "gone") return void this.#tellGone();
      if (result.outcome === "replaced") {
        if (conflicts.length > 0) events.report({ type: "merged", conflicts });
        const rotated = new TrackedSession(order.newId, undefined, { arrivedAs: tracked.arrivedAs });
        rotated.stored(result.base, encoded.endsAt);
        return { tracked: rotated, fields, given: start.fields };
      }
      const { meta } = encoded.head;
      const rebased = await rebase.onto({ key: base.key, raw: result.current }, { tracked, base, fields, meta });
      if (rebased.outcome === "gone") return void this.#tellGone();
      if (rebased.outcome === "rebased") conflicts.push(...rebased.conflicts);
      ({ base, fields } = rebased);
    }
  }

  /** Replaces the old record if it is still what was seen. */
  async #attempt(
    { base, draft, encoded, arrivedAs }: RotationAttempt,
    order: RotationOrder,
    { withinMs, deadline }: { withinMs: number; deadline: number },
  ): Promise<Attempted> {
    const { records, encoder, index, events, keys } = this.#parts;
    const { text, lifeMs, endsAt, head } = encoded;
    const { key } = draft;
    const before = encoder.headOf(base).meta?.user;
    const { user } = head.meta;
    // S7: it is the same session of the same user, until it replaces what it is a draft of and after.
    let origin = user != null && user === before ? base.key : undefined;
    if (user != null) {
      const life = { lifeMs, endsAt };
      const max = origin === undefined ? order.maxRows : Infinity;
      if ((await index.add(user, key, { ...life, max, origin }, withinMs)) === "stale") {
        const now = await records.peek(base.key);
        if (!now || now.raw === "") return { outcome: "gone" };
        if (now.raw !== base.raw) return { outcome: "conflict", current: now.raw };
        await index.add(user, key, { ...life, max }, withinMs); // its row was lost
        origin = undefined;
      }
    }
    const seenAt = performance.now();
    const raw = records.seal(text, key);
    const { raw: expected, row: earlier } = draft;
    Object.assign(draft, { raw, row: user == null ? undefined : { user, key, origin } });
    const written = await records.commit(key, { expected, raw, lifeMs }, withinMs);
    if (written.outcome === "conflict") throw idInUse();
    if (written.outcome === "gone") return written;
    if (earlier && earlier.user !== user) await index.delist(earlier);
    const leads = order.graceMs > 0;
    const event: LifecycleEvent = { type: "rotated", handle: keys.handleOf(base.key) };
    const cameAs = arrivedAs && encoder.headOf(arrivedAs).meta?.user;
    const swap = {
      expected: base.raw,
      // Fixation: it leads only to a session of whom the request came as, not of whoever has signed in since.
      raw: (leads ? rotatedTo : endedAs)(base.id, { id: order.newId, user: cameAs }),
      lifeMs: leads ? order.graceMs : order.tombstoneMs,
      event,
    };
    const reply = await this.#swap(base.key, swap, deadline);
    if (reply.outcome !== "stored") return reply;
    events.report(event);
    if (user != null && origin !== undefined) await index.promote({ user, key, origin });
    else if (before != null) await index.delist({ user: before, key: base.key });
    return { outcome: "replaced", base: { id: order.newId, key, raw, text, remainingMs: lifeMs, seenAt, head } };
  }

  async #swap(key: string, swap: Change, deadline: number) {
    try {
      return await this.#parts.records.commit(key, swap, Math.max(1, deadline - performance.now()));
    } catch (cause) {
      const isUnknown = cause instanceof SessionStoreError && cause.code === "OUTCOME_UNKNOWN";
      throw isUnknown ? new SwapUnknown("", { cause }) : cause;
    }
  }

  #tellGone(): void {
    this.#parts.events.report({ type: "gone" });
  }

  /**
   * Takes back the new record, if it is this rotation's. If that fails too, a session that nobody can reach is listed until it
   * expires.
   */
  async #discard({ key, raw, row }: Draft, { tombstoneMs }: RotationOrder): Promise<void> {
    if (raw === undefined) return;
    const end = { expected: raw, raw: leadingNowhere(), lifeMs: tombstoneMs };
    const reply = await this.#parts.records.commit(key, end).catch(() => undefined);
    if (!row) return;
    // What may still be on its way finds the end; without that it needs its row.
    if (reply?.outcome === "stored") await this.#parts.index.delist(row);
    else await this.#parts.index.retire(row);
  }
}

/** What came of one try: the new record, or what stood in the old one's place. */
type Attempted =
  | { readonly outcome: "replaced"; readonly base: Base & { readonly remainingMs: number } }
  | { readonly outcome: "gone" }
  | { readonly outcome: "conflict"; readonly current: string };

/** One try to replace an old record. */
interface RotationAttempt {
  readonly base: Base;
  readonly draft: Draft;
  readonly encoded: Encoded;
  /** As in {@link TrackedSession}. */
  readonly arrivedAs: Base | undefined;
}

/** A new record that nothing leads to yet. */
interface Draft {
  readonly key: string;
  /** As it was sent last. */
  raw: string | undefined;
  /** In the index of its user. */
  row: Row | undefined;
}

/** It is not known whether the old record leads to the new one. */
class SwapUnknown extends Error {}

function idInUse(): SessionStoreError {
  return new SessionStoreError("CONFLICT", "The new id of the session is already in use; nothing was changed.");
}
