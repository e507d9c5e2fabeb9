import { SessionStoreError } from "@lockstep/session-store";
import { outcomeUnknown, RequestError } from "../requests/request-error.ts";

/**
 * What a client is told when its session could not be loaded, started, stored or ended. Whoever changed something must
 * know when it may have happened all the same. A conflict, or a session too large, is no outage.
 */
export function sessionFailure(cause: unknown): Error {
  const isUnknown = cause instanceof SessionStoreError && cause.code === "OUTCOME_UNKNOWN";
  if (isUnknown) return outcomeUnknown(cause);
  if (cause instanceof SessionStoreError && cause.code === "TOO_LARGE") {
    // Each change was small enough for itself; together with what others added at the same moment it is not.
    return new RequestError(413, "session-full", "There is no room left for this. Remove something first.", { cause });
  }
  if (cause instanceof SessionStoreError && cause.code !== "UNAVAILABLE") return cause;
  const message = "Sessions cannot be reached right now. Try again in a moment.";
  return new RequestError(503, "sessions-unavailable", message, { cause });
}
