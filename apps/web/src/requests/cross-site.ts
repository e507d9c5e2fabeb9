import type { Request, RequestHandler } from "express";
import { RequestError } from "./request-error.ts";

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Refuses requests that another site's page made a browser send, with the user's cookie, to change something here.
 * Rule of the OWASP Cross-Site Request Forgery cheat sheet: Fetch Metadata decides; where a browser does not send it
 * (old ones, and all over plain http except to localhost), Origin does. Without either it is no browser: curl works.
 */
export function refuseCrossSite(publicOrigins: readonly string[]): RequestHandler {
  return (req, _res, next) => {
    if (safeMethods.has(req.method) || isSameSite(req, publicOrigins)) next();
    else next(new RequestError(403, "cross-site", "This request came from another site, so it was refused."));
  };
}

function isSameSite(req: Request, publicOrigins: readonly string[]): boolean {
  const fetchSite = req.get("Sec-Fetch-Site");
  if (fetchSite !== undefined) return fetchSite === "same-origin" || fetchSite === "none";
  const origin = req.get("Origin");
  if (origin === undefined) return true;
  return origin === `${req.protocol}://${req.get("Host") ?? ""}` || publicOrigins.includes(origin);
}
