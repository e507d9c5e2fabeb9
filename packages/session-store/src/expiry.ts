import { SessionStoreError } from "./errors.ts";

/**
 * How long a record lives after its session was used: a tenth longer than the idle limit, because touches are throttled
 * to a tenth of it (S5). So nobody is ended early; a session ends between 1 and 1.1 times its idle limit (S6).
 */
const slack = 1 / 10;

/** The life in ms that a record is given when its session is stored or touched; 0 or less: it has ended. `Infinity`: no end. */
export function recordLifeMs(idleMs: number): number {
  return Math.ceil(idleMs + idleMs * slack);
}

/** What a touch must add at least, in ms: less would be nothing but noise. */
const worthwhileMs = 1_000;

/** Whether a use of the session must be recorded, or the last recorded one is recent enough. */
export function touchIsDue(remainingMs: number, idleMs: number): boolean {
  const gain = recordLifeMs(idleMs) - remainingMs;
  return remainingMs < idleMs && gain >= Math.min(worthwhileMs, idleMs * slack);
}

/**
 * When a session was last used, as far as it was recorded: to a tenth of its idle limit (S5). Only uses lengthen a record's
 * life, and only by this much, so what is left of it tells.
 *
 * @returns ms on the wall clock; `undefined`: it does not expire, so nothing is recorded
 */
export function lastSeenAt(now: number, idleMs: number, remainingMs: number | undefined): number | undefined {
  return remainingMs === undefined ? undefined : now - (recordLifeMs(idleMs) - remainingMs);
}

/**
 * When the absolute limit ends a session, ms on the wall clock: it counts from birth, whatever happens to the session
 * since, rotation and merges included. It is asked at each load. The record lives on, unread, until it has been idle.
 *
 * @returns `undefined`: never, or not known when it was born
 */
export function absoluteEnd(created: number | undefined, absoluteMs: number | undefined): number | undefined {
  return created === undefined || absoluteMs === undefined ? undefined : created + absoluteMs;
}

/** Whether a moment on the wall clock, in ms, has come. */
export function hasPassed(at: number | undefined): boolean {
  return at !== undefined && at <= Date.now();
}

/** When the browser should drop the cookie: with the record, but at most `maxAgeMs` from now; ISO 8601. */
export function cookieExpires(now: number, maxAgeMs: number, remainingMs: number | undefined): string {
  return new Date(now + Math.min(maxAgeMs, remainingMs ?? Infinity)).toISOString();
}

/**
 * The idle limit of a session, in ms.
 *
 * @param option a function decides for every session, a number where the cookie has no `maxAge`
 * @throws {@link SessionStoreError} `INVALID_SESSION` if the function does not give a number
 */
export function decideIdleMs<Fields>(
  option: number | ((fields: Fields) => number),
  originalMaxAge: unknown,
  fields: () => Fields,
): number {
  if (typeof option !== "function") return typeof originalMaxAge === "number" ? originalMaxAge : option;
  const decided = option(fields());
  if (typeof decided === "number" && !Number.isNaN(decided)) return decided;
  throw new SessionStoreError("INVALID_SESSION", "The idle limit that was decided for the session is not a number.");
}
