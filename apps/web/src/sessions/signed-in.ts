import type { Request, Response } from "express";
import type { Session, SessionData } from "express-session";
import type { Account } from "../accounts/accounts.ts";
import type { Preferences } from "../preferences/preferences.ts";
import { RequestError } from "../requests/request-error.ts";
import { sessionCookie } from "./session-stack.ts";
import { sessionFailure } from "./session-failure.ts";

declare module "express-session" {
  /** What a signed-in session holds. The profile is not in it: it is read by its id. */
  interface SessionData {
    userId: string;
    username: string;
    cart: string[];
    preferences: Preferences;
  }
}

/**
 * The session of a signed-in request. A handler asks for it after the body was read and changes it in place.
 * @throws {RequestError} 401 if nobody is signed in
 */
export function signedIn(req: Request): Session & SessionData {
  const { session } = req;
  if (!isSignedIn(session)) throw notSignedIn();
  return session;
}

/** The 401 that the pages turn into a visit to the sign-in page. */
export function notSignedIn(): RequestError {
  return new RequestError(401, "not-signed-in", "Sign in first.");
}

/** Signs an account in under a new session id, so that an id planted before is worth nothing after (session fixation). */
export async function startSession(req: Request, account: Account): Promise<void> {
  await settled((done) => req.session.regenerate(done));
  Object.assign(req.session, { userId: account.id, username: account.username, cart: [], preferences: {} });
}

/** Signs out: the session is destroyed for every server, and the browser forgets its cookie. */
export async function endSession(req: Request, res: Response): Promise<void> {
  if (!isSignedIn(req.session)) return;
  await settled((done) => req.session.destroy(done));
  const { name, ...cookie } = sessionCookie;
  res.clearCookie(name, cookie);
}

function isSignedIn(session: Session & Partial<SessionData>): session is Session & SessionData {
  return session.userId !== undefined;
}

/** express-session's callbacks as a promise. */
function settled(start: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error == null) resolve();
      else reject(sessionFailure(error));
    });
  });
}
