import type { RequestHandler } from "express";

/** Names the server in every answer, so that hopping can be seen from outside. */
export function servedBy(serverName: string): RequestHandler {
  return (_req, res, next) => {
    res.set("X-Served-By", serverName);
    next();
  };
}
