import { type CipherKey, randomBytes } from "node:crypto";
import type { Request, RequestHandler, Response } from "express";
import type { CookieOptions } from "express-session";
import { CookieReader, type Secrets, cookieNameOf, resolveSecrets } from "./cookie.ts";
import { type OnUnavailable, goesOnWithout } from "./engine-store.ts";
import { SessionStoreError } from "./errors.ts";
import type { SessionsOptions } from "./options.ts";
import { type Arrival, RequestSession } from "./request-session.ts";
import { type RequestSettings, RequestStore } from "./request-store.ts";
import { ResponseGate } from "./response-gate.ts";
import { type Sessions, createSessions } from "./sessions.ts";
import type { TrackedSession } from "./tracked-session.ts";

/** express-session's options, as {@link session} takes them; an engine, or its options, go with them. */
export interface SessionOptions {
  /**
   * Signs the cookie. Of a list the first signs and all verify, so that a secret can be replaced. `undefined`: the secret
   * of cookie-parser, which it leaves at the request; without one the request fails.
   */
  readonly secret: CipherKey | readonly CipherKey[] | undefined;
  /** The cookie's name; default `"connect.sid"`. */
  readonly name?: string | undefined;
  /** Another name for {@link SessionOptions.name}, as express-session has it. */
  readonly key?: string | undefined;
  /** The cookie's attributes, or a function that gives them for a request; default `{ path: "/", httpOnly: true }`. */
  readonly cookie?: CookieOptions | ((request: Request) => CookieOptions) | undefined;
  /** Makes the id of a new session; default 24 random bytes, base64url. It must be unguessable. */
  readonly genid?: ((request: Request) => string) | undefined;
  /** Whether to believe `X-Forwarded-Proto`; default: as Express' "trust proxy" says. */
  readonly proxy?: boolean | undefined;
  /**
   * Send the cookie with each response, so that the browser keeps it as long as the session lives; default `false`. Each
   * response then waits for one more round trip, which tells that the session is still there.
   */
  readonly rolling?: boolean | undefined;
  /** Store a new session that no handler put anything into; default `false`, unlike express-session. */
  readonly saveUninitialized?: boolean | undefined;
  /**
   * Record each use at once, rather than at most every tenth of the idle limit; default `false`. Each response then waits
   * for one more round trip. A session that has not changed is never stored again.
   */
  readonly resave?: boolean | undefined;
  /** What `req.session = null` does to the stored session; default `"keep"`. */
  readonly unset?: "destroy" | "keep" | undefined;
  /**
   * What becomes of a request whose session can't be loaded because Redis can't be asked; default `"reject"`: it is passed
   * on as an error. `"anonymous"`: it goes on with `req.session` undefined, and its cookie is not touched. So do all
   * requests, cookie or not, while Redis is known to be away.
   */
  readonly onUnavailable?: OnUnavailable | undefined;
  /**
   * Answers, before it returns, a request whose session could not be stored. The handler's status, headers and body are
   * gone by then; what earlier middleware has set is there, but for `Set-Cookie`. Default: the error's status, its
   * `Retry-After`, and a line of text.
   */
  readonly onCommitError?: ((error: SessionStoreError, request: Request, response: Response) => void) | undefined;
}

/** An engine made elsewhere, to be shared. It has its options: none of them can be given beside it. */
export type SharedEngine = {
  /** What {@link createSessions} gave. */
  readonly sessions: Sessions;
} & { readonly [Option in keyof SessionsOptions]?: never };

/**
 * Session middleware with the API of express-session, on Redis.
 *
 * Beyond express-session: concurrent changes are merged (S1, S2), a destroyed session never returns (S3), and no byte of
 * a response leaves before its session is stored; where it can't be, the client gets an error and no cookie (S4).
 *
 * @param options express-session's options without `store`, and an engine or its options
 * @returns the middleware. A session that can't be loaded is passed on as a {@link SessionStoreError}.
 * @throws TypeError naming the first option that can't be meant
 */
export function session(options: SessionOptions & (SessionsOptions | SharedEngine)): RequestHandler {
  const settings = resolveSettings(options);
  const sessions = "sessions" in options ? options.sessions : createSessions(options);
  const shared = { sessions, settings, store: new RequestStore(sessions, settings) };
  const cookies = new CookieReader(settings.name, settings.secrets);
  let isAvailable = true;
  if (settings.goesOnWithout) {
    sessions.onAvailability((is) => {
      isAvailable = is;
    });
  }

  return (request, response, next) => {
    if (!isAvailable || hasSession(request)) {
      next();
      return;
    }
    if (request.httpVersionMajor > 1) {
      // Neither Express nor express-session runs on Node's HTTP/2 responses, which keep what has been sent to themselves.
      next(new Error("Lockstep sessions: HTTP/1 is needed; let a proxy speak HTTP/2 with the browsers."));
      return;
    }
    const cookieOptions = settings.cookieOptions(request);
    if (!isUnder(cookieOptions.path, request)) {
      next();
      return;
    }
    const secrets = settings.secrets ?? cookieParserSecret(request);
    if (!secrets) {
      next(new Error("Lockstep sessions: a secret is required, to sign the cookie."));
      return;
    }
    const cookieId = cookies.read(request, secrets);
    const arrival: Arrival = { request, response, secrets, cookieId, cookieOptions };
    const proceed = (loaded: TrackedSession | undefined) => {
      try {
        new ResponseGate(response, new RequestSession(arrival, loaded, shared));
      } catch (error) {
        // The app's genid, or its cookie function, threw: after a load there is nobody else to catch it.
        next(error);
        return;
      }
      next();
    };
    const giveUp = (error: unknown) => next(settings.goesOnWithout && tellsOfOutage(error) ? undefined : error);
    if (cookieId === undefined) proceed(undefined);
    else sessions.load(cookieId).then(proceed, giveUp);
  };
}

/** A load may be the move of a record as well, and then its outcome unknown. */
function tellsOfOutage(error: unknown): boolean {
  return error instanceof SessionStoreError && ["UNAVAILABLE", "OUTCOME_UNKNOWN"].includes(error.code);
}

function cookieParserSecret(request: Request & { readonly secret?: CipherKey | undefined }): Secrets | undefined {
  return request.secret ? [request.secret] : undefined;
}

/** Whether another session middleware was here first. Asked without looking at its session, which would make one. */
function hasSession(request: Request): boolean {
  if (!("session" in request)) return false;
  const property = Object.getOwnPropertyDescriptor(request, "session");
  return property !== undefined && (property.get !== undefined || Boolean(property.value));
}

/** A browser sends a cookie only under its path; elsewhere there is no session. */
function isUnder(path: string | null | undefined, request: Request): boolean {
  if (!path || path === "/") return true;
  // A client may put the whole address on the request line (RFC 9112, 3.2.2).
  const target = (request.originalUrl as string | undefined) ?? request.url;
  return target.replace(/^[a-z]+:\/\/[^/]*/i, "").startsWith(path);
}

function resolveSettings(options: SessionOptions): RequestSettings {
  const { cookie, genid, unset } = options;
  if (genid !== undefined && typeof genid !== "function") {
    throw new TypeError("Lockstep sessions: genid must be a function.");
  }
  if (unset !== undefined && !["destroy", "keep"].includes(unset)) {
    throw new TypeError('Lockstep sessions: unset must be "destroy" or "keep".');
  }
  return {
    name: cookieNameOf(options),
    secrets: resolveSecrets(options.secret),
    cookieOptions: typeof cookie === "function" ? cookie : () => cookie ?? {},
    generateId: genid ?? (() => randomBytes(24).toString("base64url")),
    dependsOnRequest: genid !== undefined || typeof cookie === "function",
    trustProxy: options.proxy,
    resave: options.resave ?? false,
    rolling: options.rolling ?? false,
    saveUninitialized: options.saveUninitialized ?? false,
    unsetDestroys: unset === "destroy",
    goesOnWithout: goesOnWithout(options.onUnavailable),
    onCommitError: (error, request, response) => {
      try {
        (options.onCommitError ?? answerCommitError)(error, request, response);
      } catch (thrown) {
        process.emitWarning(`onCommitError threw: ${String(thrown)}`, "LockstepWarning");
        if (!response.headersSent) answerCommitError(error, request, response);
      }
    },
  };
}

const explanations: Readonly<Record<SessionStoreError["code"], string>> = {
  UNAVAILABLE: "Your session could not be stored, so nothing was changed. Please try again.",
  OUTCOME_UNKNOWN: "The outcome is unknown: your session may have been stored or not. Please look, and try again.",
  CONFLICT: "Your session was changed by another request at the same time, so nothing was changed. Please try again.",
  TOO_LARGE: "Your session has become too large, so nothing was changed.",
  TOO_MANY_SESSIONS: "You are signed in too many times. Please sign out elsewhere, and try again.",
  INVALID_SESSION: "Your session could not be stored, so nothing was changed.",
  UNSAFE_REDIS: "Your session could not be stored, so nothing was changed.",
};

function answerCommitError(error: SessionStoreError, _request: Request, response: Response): void {
  response.statusCode = error.status;
  const headers = { ...error.headers, "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" };
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(`${explanations[error.code]}\n`);
}
