import { SessionStoreError } from "./errors.ts";

/**
 * How long a record lives after its session was used: a tenth longer than the idle limit, because touches are throttled
 * to a tenth of it (S5). So nobody is ended early; a session ends between 1 and 1.1 times its idle limit (S6).
 */
const slack = 1 / 10;

/** What decides when a session ends. Times in ms; `now` and `created` on the wall clock. */
export interface Lifetime {
  readonly now: number;
  /** When the session was born; the absolute limit counts from here, whatever happens to the session. */
  readonly created: number;
  /** The longest time between two uses. */
  readonly idleMs: number;
  /** The longest time since {@link Lifetime.created}; `undefined`: no such limit. */
  readonly absoluteMs: number | undefined;
}

/** The life in ms that a record is given when its session is stored or touched; 0 or less: it has ended. `Infinity`: no end. */
export function recordLifeMs(lifetime: Lifetime): number {
  const idle = Math.ceil(lifetime.idleMs + lifetime.idleMs * slack);
  if (lifetime.absoluteMs === undefined) return idle;
  return Math.min(idle, Math.floor(lifetime.created + lifetime.absoluteMs - lifetime.now));
}

/** What a touch must add at least, in ms: where the absolute limit ends the session, it could add nothing but noise. */
const worthwhileMs = 1_000;

/** Whether a use of the session must be recorded, or the last recorded one is recent enough. */
export function touchIsDue(remainingMs: number, lifetime: Lifetime): boolean {
  const gain = recordLifeMs(lifetime) - remainingMs;
  return remainingMs < lifetime.idleMs && gain >= Math.min(worthwhileMs, lifetime.idleMs * slack);
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
