import { STATUS_CODES } from "node:http";
import type { ErrorRequestHandler, Request, RequestHandler, Response } from "express";
import { reasonsOf } from "../reasons.ts";
import { RequestError } from "./request-error.ts";
import type { FieldMessages } from "./validation.ts";

interface ErrorAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly fields?: FieldMessages;
}

const messages: Readonly<Record<number, string>> = {
  400: "The request could not be understood.",
  413: "The request is larger than this server takes.",
  415: "The request's body is of a type this server does not take.",
  500: "Something went wrong on this server. It has been logged.",
  503: "A part that this needs does not answer. Try again in a moment.",
};

/**
 * Chooses what a client is told about an error, and logs what it is not told. An error with a `status` of 400 to 599
 * keeps it, any other is a 500. The stack stays here, and so does a message that was not written for clients.
 */
export function answerTo(error: unknown, req: Request, res: Response): ErrorAnswer {
  const answer = describe(error);
  const retryAfterMs = error instanceof RequestError ? error.retryAfterMs : undefined;
  if (retryAfterMs !== undefined) res.set("Retry-After", `${Math.ceil(retryAfterMs / 1_000)}`);
  else if (answer.status === 503) res.set("Retry-After", "1");
  if (answer.status >= 500) logFailure(error, req);
  return answer;
}

/** Answers errors of the API with JSON. */
export const apiErrors: ErrorRequestHandler = (error, req, res, _next) => {
  const { status, ...told } = answerTo(error, req, res);
  res.status(status).json({ error: told });
};

/** Ends the routes: whatever gets here has no page and no resource. */
export const notFound: RequestHandler = (_req, _res, next) => {
  next(new RequestError(404, "not-found", "There is nothing at this address."));
};

function describe(error: unknown): ErrorAnswer {
  if (error instanceof RequestError) {
    const { status, code, message, fields } = error;
    return { status, code, message, ...(fields && { fields }) };
  }
  const status = statusOf(error);
  const reason = STATUS_CODES[status] ?? "Error";
  return { status, code: reason.toLowerCase().replaceAll(/[^a-z]+/g, "-"), message: messages[status] ?? `${reason}.` };
}

function statusOf(error: unknown): number {
  const status: unknown = error instanceof Error && "status" in error ? error.status : undefined;
  return typeof status === "number" && status >= 400 && status <= 599 ? status : 500;
}

/** Logs a request that failed. An outage is one line, since each request meets it; any other error comes with its stack. */
export function logFailure(error: unknown, req: Request): void {
  const isOutage = error instanceof Error && statusOf(error) === 503;
  const reason = isOutage ? reasonsOf(error.cause ?? error) : error;
  console.error(`${req.method} ${req.baseUrl}${req.path} failed:`, reason);
}
