/**
 * The life of one entry, in ms: a part of `ttlMs`, so that what was loaded in one moment does not expire in one.
 *
 * @param jitter the largest part that is taken away, from 0 to 1
 * @param random from 0 to 1
 */
export function lifeOf(ttlMs: number, jitter: number, random: number): number {
  return Math.max(1, Math.round(ttlMs * (1 - jitter * random)));
}

/** What may be done with a value whose life is over. */
export interface Extension {
  /** For how long it may be served while it is refreshed. */
  readonly staleMs: number;
  /** For how long it may be served when the source fails. */
  readonly graceMs: number;
}

/** How long an entry is kept when its life is over. */
export function extraOf({ staleMs, graceMs }: Extension): number {
  return Math.max(staleMs, graceMs);
}

/** What a value may still be served for, `overdueMs` after the end of its life. */
export function extensionAt(overdueMs: number, { staleMs, graceMs }: Extension) {
  return { mayBeStale: overdueMs < staleMs, mayBeGrace: overdueMs < graceMs };
}
