import { CommandError } from "@lockstep/redis-kit";

/**
 * Why an operation on a cache failed.
 *
 * - `UNAVAILABLE`: Redis could not be asked, or refused. An `update` that fails with it has not run its write; of a `set` or
 *   `increment` nothing is stored.
 * - `OUTCOME_UNKNOWN`: an update's write was not done within its deadline, or Redis did not answer a `set` or `increment`. It may
 *   still be, or may have failed.
 * - `OVERLOADED`: too many loads are waiting for the source, too many writes of one entry are pending, or too many rows wait to be saved.
 * - `LOAD_TIMEOUT`: the loader did not answer within `loadTimeoutMs`.
 * - `INVALID_ID`: an id is empty, too long, or neither string nor number.
 * - `INVALID_VALUE`: a value is not what JSON can carry, or not what can be incremented, or too large to be written behind; or
 *   what a write-behind collection has in Redis can't be read.
 * - `UNSAFE_REDIS`: this Redis may evict the marks of pending writes, is too old, or could lose what is to be saved; or other servers keep near
 *   copies there, and this one is not in their group. Nothing is cached, or accepted, there.
 * - `UNSUPPORTED`: this Memcached can't do it: `clear()`, or anything where it was started without CAS.
 */
export type CacheErrorCode =
  | "UNAVAILABLE"
  | "OUTCOME_UNKNOWN"
  | "OVERLOADED"
  | "LOAD_TIMEOUT"
  | "INVALID_ID"
  | "INVALID_VALUE"
  | "UNSAFE_REDIS"
  | "UNSUPPORTED";

const statusOf: Readonly<Record<CacheErrorCode, number>> = {
  UNAVAILABLE: 503,
  OUTCOME_UNKNOWN: 503,
  OVERLOADED: 503,
  LOAD_TIMEOUT: 503,
  INVALID_ID: 400,
  INVALID_VALUE: 500,
  UNSAFE_REDIS: 500,
  UNSUPPORTED: 500,
};

/** A failed operation on a cache. Its message never holds an id or a value. */
export class CacheError extends Error {
  /** The name that stack traces show. */
  override readonly name = "CacheError";
  /** What went wrong, for programs. */
  readonly code: CacheErrorCode;
  /** The HTTP status that fits, which Express' default error handling honours. */
  readonly status: number;
  /** Response headers that fit, which Express' default error handling honours: `Retry-After` where trying again is safe. */
  readonly headers: Readonly<Record<string, string>>;

  /** @param code what went wrong @param message what was attempted and what to do @param options `cause`: the error behind it */
  constructor(code: CacheErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = statusOf[code];
    // Not for a write that may have been done.
    this.headers = this.status === 503 && code !== "OUTCOME_UNKNOWN" ? { "Retry-After": "1" } : {};
  }
}

/** What failed about Redis, in a cache's terms. */
export function unavailable(error: unknown): unknown {
  return error instanceof CommandError ? new CacheError("UNAVAILABLE", error.message, { cause: error }) : error;
}
