import type { RecordMeta, SessionFields } from "./codec.ts";

/** A record as last seen in Redis. */
export interface Base {
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
