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
  | "unsupported-media-type"
  | "wrong-credentials";

/** A request that is answered with an error on purpose: its status, a stable code, and a sentence for people. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: Code;
  readonly fields: Readonly<Record<string, string>> | undefined;

  constructor(
    status: number,
    code: Code,
    message: string,
    { fields, cause }: { fields?: Readonly<Record<string, string>>; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.name = "RequestError";
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/** The answer to a change that may or may not have been made. */
export function outcomeUnknown(cause: unknown): RequestError {
  const message = "It is not known whether your change was stored. Look before you try again.";
  return new RequestError(503, "outcome-unknown", message, { cause });
}
