import type { RecordMeta, SessionFields } from "./codec.ts";
import { type Encoder, unreadable } from "./encoder.ts";
import { CorruptRecord } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import { cookieExpires } from "./expiry.ts";
import { isForward } from "./forward.ts";
import { mergeSessions } from "./merge.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Records } from "./records.ts";
import type { Base, TrackedSession } from "./tracked-session.ts";

/** A change that found another record than the one it was made to. */
export interface Refused {
  readonly tracked: TrackedSession;
  /** The record it was made to; `undefined`: the session was born in this request. */
  readonly base: Base | undefined;
  readonly fields: SessionFields;
  readonly meta: RecordMeta;
}

/**
 * What becomes of it.
 *
 * - `gone`: there is no session any more;
 * - `arrived`: it was stored already, by a sending whose answer was lost, and others' changes came since;
 * - `rebased`: merged with what is there, it is to be stored over that.
 */
export type Rebased =
  | { readonly outcome: "gone" }
  | { readonly outcome: "arrived"; readonly base: Base; readonly fields: SessionFields }
  | {
      readonly outcome: "rebased";
      readonly base: Base;
      readonly fields: SessionFields;
      readonly conflicts: readonly string[];
    };

/** S2: takes a change that came second to what came first. */
export class Rebase {
  readonly #options: ResolvedOptions;
  readonly #records: Records;
  readonly #encoder: Encoder;

  constructor(options: ResolvedOptions, { records, encoder }: { records: Records; encoder: Encoder }) {
    this.#options = options;
    this.#records = records;
    this.#encoder = encoder;
  }

  /**
   * @param stood under which key, and the raw text that stood there
   * @throws {@link SessionStoreError} `CONFLICT` or `INVALID_SESSION`
   */
  async onto(stood: { key: string; raw: string }, refused: Refused): Promise<Rebased> {
    const { tracked, base, meta } = refused;
    const current = await this.#currentOf(base?.id ?? tracked.id, stood);
    if (!current) return { outcome: "gone" };
    const theirs = this.#encoder.read(current.text);
    const writes = theirs.meta?.writes ?? [];
    if (writes.includes(meta.writes[0] ?? "")) return { outcome: "arrived", base: current, fields: theirs.fields };
    if (base?.key === current.key && base.raw === current.raw) {
      throw unreadable(new CorruptRecord("not UTF-8"));
    }
    // Where it has only moved there is nothing to merge.
    if (current.text === base?.text) {
      return { outcome: "rebased", base: current, fields: refused.fields, conflicts: [] };
    }
    return {
      outcome: "rebased",
      base: current,
      ...this.#merge(this.#ancestor(refused, writes), refused.fields, theirs.fields),
    };
  }

  /** The record that stood in the way; where the session has gone on, the one under its present key. */
  async #currentOf(id: string, { key, raw }: { key: string; raw: string }): Promise<Base | undefined> {
    try {
      if (isForward(raw)) return await this.#records.load(id);
      const text = this.#records.open(raw, key);
      return { id, key, raw, text, remainingMs: undefined, seenAt: performance.now() };
    } catch (cause) {
      throw unreadable(cause);
    }
  }

  /** What the change and the current record both come from; `writes`: the commits behind that record. */
  #ancestor({ tracked, base }: Refused, writes: readonly string[]): SessionFields {
    // An earlier commit of this very object did arrive: the object builds on what it was then. Once it has been rebased it
    // builds on what it was rebased onto.
    const arrived = base?.raw === tracked.base?.raw && tracked.unconfirmed.find(({ write }) => writes.includes(write));
    if (arrived) return arrived.given;
    if (base) return this.#encoder.read(base.text).fields;
    throw new SessionStoreError("CONFLICT", "The new session's id is already in use; nothing was stored.");
  }

  #merge(base: SessionFields, mine: SessionFields, theirs: SessionFields) {
    const [before, ours, others] = [withoutExpires(base), withoutExpires(mine), withoutExpires(theirs)];
    const { value, conflicts } = mergeSessions(before, ours, others, this.#options.mergeRules);
    if (this.#options.rejectConflicts && conflicts.length > 0) {
      throw new SessionStoreError("CONFLICT", `Changed by two requests: ${conflicts.join(", ")}; not stored.`);
    }
    return { fields: withExpires(value, mine), conflicts };
  }
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
