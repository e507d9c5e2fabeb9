import { RequestError } from "../requests/request-error.ts";

/** The 503 for a session that could not be loaded, started or ended; an error that has a status of its own keeps it. */
export function sessionsUnavailable(cause: unknown): Error {
  if (cause instanceof Error && "status" in cause) return cause;
  return new RequestError(503, "sessions-unavailable", "Sessions cannot be reached right now. Try again in a moment.", {
    cause,
  });
}
