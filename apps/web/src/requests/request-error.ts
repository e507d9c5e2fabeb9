type Code =
  | "cache-unavailable"
  | "cross-site"
  | "database-unavailable"
  | "invalid-input"
  | "not-found"
  | "not-signed-in"
  | "outcome-unknown"
  | "session-full"
  | "sessions-unavailable"
  | "too-busy"
  | "too-many-attempts"
  | "unsupported-media-type"
  | "wrong-credentials";

/** A request that is answered with an error on purpose: its status, a stable code, and a sentence for people. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: Code;
  readonly fields: Readonly<Record<string, string>> | undefined;
  /** When it may be tried again, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    status: number,
    code: Code,
    message: string,
    {
      fields,
      retryAfterMs,
      cause,
    }: { fields?: Readonly<Record<string, string>>; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.name = "RequestError";
    this.status = status;
    this.code = code;
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The answer to a change that may or may not have been made. */
export function outcomeUnknown(cause: unknown): RequestError {
  const message = "It is not known whether your change was stored. Look before you try again.";
  return new RequestError(503, "outcome-unknown", message, { cause });
}
