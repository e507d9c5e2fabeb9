import { CommandError } from "@lockstep/redis-kit";

/**
 * Why an operation on a session failed.
 *
 * - `UNAVAILABLE`: Redis could not be asked, or refused. Nothing was stored.
 * - `OUTCOME_UNKNOWN`: a change was sent and not confirmed in time. It may be stored or not.
 * - `CONFLICT`: others kept changing the session, or changed the same value under `conflict: "reject"`. Nothing was stored.
 * - `TOO_LARGE`: the session is larger than `maxBytes`. Nothing was stored.
 * - `TOO_MANY_SESSIONS`: its user has as many sessions as `maxPerUser` allows. Nothing was stored.
 * - `INVALID_SESSION`: the session or its id can't be stored (not serialisable, or a key named `__proto__`). Nothing was stored.
 * - `UNSAFE_REDIS`: other servers keep near copies of these sessions, and this one is not in their group. Nothing was stored, or read.
 */
export type SessionStoreErrorCode =
  | "UNAVAILABLE"
  | "OUTCOME_UNKNOWN"
  | "CONFLICT"
  | "TOO_LARGE"
  | "TOO_MANY_SESSIONS"
  | "INVALID_SESSION"
  | "UNSAFE_REDIS";

const statusOf: Readonly<Record<SessionStoreErrorCode, number>> = {
  UNAVAILABLE: 503,
  OUTCOME_UNKNOWN: 503,
  CONFLICT: 409,
  TOO_LARGE: 500,
  TOO_MANY_SESSIONS: 409,
  INVALID_SESSION: 500,
  UNSAFE_REDIS: 500,
};

/** A failed operation on a session. Its message never holds a session id, a secret or a value. */
export class SessionStoreError extends Error {
  /** The name that stack traces show. */
  override readonly name = "SessionStoreError";
  /** What went wrong, for programs. */
  readonly code: SessionStoreErrorCode;
  /** The HTTP status that fits, which Express' default error handling honours. */
  readonly status: number;
  /** Response headers that fit, which Express' default error handling honours: `Retry-After` with status 503. */
  readonly headers: Readonly<Record<string, string>>;

  /** @param code what went wrong @param message what was attempted and what to do @param options `cause`: the error behind it */
  constructor(code: SessionStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = statusOf[code];
    this.headers = this.status === 503 ? { "Retry-After": "1" } : {};
  }
}

/** A failed command in a session's terms. `effect`: whether it would have changed anything in Redis. */
export function fromCommandError(error: unknown, effect: "read" | "write"): unknown {
  if (!(error instanceof CommandError)) return error;
  const unknown = effect === "write" && error.failure === "no-reply";
  return new SessionStoreError(unknown ? "OUTCOME_UNKNOWN" : "UNAVAILABLE", error.message, { cause: error });
}
