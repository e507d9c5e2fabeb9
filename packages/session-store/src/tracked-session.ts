import type { RecordMeta, SessionFields } from "./codec.ts";

/** A record as last seen in Redis. */
export interface Base {
  /** The id that its key is made of: another than the session came with, where that was rotated meanwhile. */
  readonly id: string;
  readonly key: string;
  /** The text as it is stored: what a commit must find. */
  readonly raw: string;
  /** The same, decrypted. */
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
  /** @internal The record that the request's cookie led to. */
  readonly arrivedAs: Base | undefined;
  /** @internal When the absolute limit ends it, ms on the wall clock. */
  endsAt: number | undefined;
  /**
   * @internal Commits sent since the base was seen, and not confirmed: their names, and the fields they were given before any
   * merge.
   */
  unconfirmed: readonly { readonly write: string; readonly given: SessionFields }[] = [];

  /** @internal The id that it was asked for by: an older one, where it was rotated a moment ago. */
  readonly askedAs: string;

  /** @internal */
  constructor(id: string, base?: Base, came: { askedAs?: string; arrivedAs?: Base | undefined } = {}) {
    this.id = id;
    this.base = base;
    this.arrivedAs = came.arrivedAs ?? base;
    this.askedAs = came.askedAs ?? id;
  }

  /** @internal Takes note of what is stored now. `base.remainingMs`: `Infinity` for no expiry. */
  stored(base: Base & { readonly remainingMs: number }, endsAt: number | undefined): void {
    this.base = { ...base, remainingMs: base.remainingMs === Infinity ? undefined : base.remainingMs };
    this.endsAt = endsAt;
    this.unconfirmed = [];
  }

  /** Whether it was ever seen in Redis: loaded, or stored by this request. */
  get isStored(): boolean {
    return this.base !== undefined;
  }

  /** How long it still lives unless it is used, in ms, by what was last seen; `undefined`: without end, or never seen. */
  get remainingMs(): number | undefined {
    const record = this.recordLifeMs ?? Infinity;
    const limit = this.endsAt === undefined ? Infinity : this.endsAt - Date.now();
    const remaining = Math.min(record, limit);
    return remaining === Infinity ? undefined : remaining;
  }

  /** @internal How long its record still lives in Redis. */
  get recordLifeMs(): number | undefined {
    if (this.base?.remainingMs === undefined) return undefined;
    return this.base.remainingMs - (performance.now() - this.base.seenAt);
  }
}
