import { CommandError } from "@lockstep/redis-kit";

/**
 * Why an operation on a cache failed.
 *
 * - `UNAVAILABLE`: Redis could not be asked, or refused. An `update` that fails with it has not run its write.
 * - `OUTCOME_UNKNOWN`: an update's write was not done within its deadline. It may still be, or may have failed.
 * - `OVERLOADED`: too many loads are waiting for the source, or too many writes of one entry are pending.
 * - `LOAD_TIMEOUT`: the loader did not answer within `loadTimeoutMs`.
 * - `INVALID_ID`: an id is empty, too long, or neither string nor number.
 * - `INVALID_VALUE`: a value is not what JSON can carry.
 * - `UNSAFE_REDIS`: this Redis may evict the marks of pending writes, or is too old. Nothing is cached there.
 */
export type CacheErrorCode =
  "UNAVAILABLE" | "OUTCOME_UNKNOWN" | "OVERLOADED" | "LOAD_TIMEOUT" | "INVALID_ID" | "INVALID_VALUE" | "UNSAFE_REDIS";

const temporary: ReadonlySet<CacheErrorCode> = new Set([
  "UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "OVERLOADED",
  "LOAD_TIMEOUT",
]);

/** A failed operation on a cache. Its message never holds an id or a value. */
export class CacheError extends Error {
  /** The name that stack traces show. */
  override readonly name = "CacheError";
  /** What went wrong, for programs. */
  readonly code: CacheErrorCode;
  /** The HTTP status that fits, which Express' default error handling honours. */
  readonly status: number;
  /** Response headers that fit, which Express' default error handling honours: `Retry-After` with status 503. */
  readonly headers: Readonly<Record<string, string>>;

  /** @param code what went wrong @param message what was attempted and what to do @param options `cause`: the error behind it */
  constructor(code: CacheErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = temporary.has(code) ? 503 : 500;
    this.headers = this.status === 503 ? { "Retry-After": "1" } : {};
  }
}

/** What failed about Redis, in a cache's terms. */
export function unavailable(error: unknown): unknown {
  return error instanceof CommandError ? new CacheError("UNAVAILABLE", error.message, { cause: error }) : error;
}
