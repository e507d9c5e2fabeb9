import express, { type RequestHandler } from "express";
import { RequestError } from "./request-error.ts";

const limit = "64kb";

/** Parses forms. */
export const formBody: RequestHandler = express.urlencoded({ extended: false, limit });

/** Parses JSON, and refuses a body that says it is something else. */
export const jsonBody: RequestHandler[] = [
  (req, _res, next) => {
    const isEmpty = req.get("Content-Length") === "0";
    if (isEmpty || req.is("application/json") !== false) next();
    else next(new RequestError(415, "unsupported-media-type", "Send the body as application/json."));
  },
  express.json({ limit }),
];

/** A field of a submitted form as text, to fill in the same form again. */
export function formText(body: unknown, field: string): string {
  const value: unknown = typeof body === "object" && body !== null ? Reflect.get(body, field) : undefined;
  return typeof value === "string" ? value : "";
}
