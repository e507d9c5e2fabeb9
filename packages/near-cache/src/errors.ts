import { CommandError } from "@lockstep/redis-kit";

/**
 * Why a group could not be joined, or asked.
 *
 * - `UNAVAILABLE`: its Redis could not be asked, or a member was silent for longer than there was time. A write that fails with it has not
 *   taken effect.
 * - `UNSUPPORTED`: this Redis, or the client for it, can't carry a group: older than 7, no RESP3, no sharded pub/sub, or a user without the
 *   right to it.
 * - `LEASE_MISMATCH`: the members that are there have leases of another length.
 * - `OVERLOADED`: the group has as many members, or this one as many writes under way, as there may be.
 */
export type NearErrorCode = "UNAVAILABLE" | "UNSUPPORTED" | "LEASE_MISMATCH" | "OVERLOADED";

/** A group that could not be joined or asked. Its message holds no key. */
export class NearError extends Error {
  /** The name that stack traces show. */
  override readonly name = "NearError";
  /** What went wrong, for programs. */
  readonly code: NearErrorCode;

  /** @param code what went wrong @param message what was attempted, and what to do @param options `cause`: the error behind it */
  constructor(code: NearErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What Redis says of a command, sharded pub/sub or rights that it does not have; what ioredis says of one in RESP2. */
const unsupported =
  /unknown (sub)?command|subscriber mode|is not a function|NOPERM|NOAUTH|Unexpected engine in script shebang/i;

/** How Redis answers to who lacks a right that a script needs, or is too old for it. */
const refusals: ReadonlySet<string> = new Set(["ERR", "NOPERM", "NOAUTH", "NOPROTO"]);

/** What failed about Redis, in a group's terms. */
export function nearErrorOf(error: unknown): NearError {
  if (error instanceof NearError) return error;
  const cause = error instanceof CommandError ? error.cause : error;
  const message = error instanceof Error ? error.message : String(error);
  const said = `${message} ${cause instanceof Error ? cause.message : ""}`;
  // Of a script's refusal only the code is told. What passes has a code of its own (LOADING, READONLY, OOM…).
  const isRefused = error instanceof CommandError && refusals.has(error.replyCode ?? "");
  if (!isRefused && !unsupported.test(said)) return new NearError("UNAVAILABLE", message, { cause: error });
  const needs =
    "A group of near copies needs Redis 7, RESP3 (ioredis 6), and the right to INFO, scripts and sharded pub/sub";
  return new NearError("UNSUPPORTED", `${needs}: ${message}`, { cause: error });
}
