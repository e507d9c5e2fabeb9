import type { Request, Response } from "express";
import expressSession, { type CookieOptions, type Session, type SessionData } from "express-session";
import { type Secrets, isSecure } from "./cookie.ts";
import { EngineStore, type StoreCallback, deliver } from "./engine-store.ts";
import { SessionStoreError } from "./errors.ts";
import { mergeSessions, rebasing } from "./merge.ts";
import { Outcome } from "./outcome.ts";
import type { Sessions } from "./sessions.ts";
import { show } from "./show.ts";
import type { TrackedSession } from "./tracked-session.ts";

declare module "express-session" {
  /** Under session() the methods that take a callback give a promise without one. */
  interface Session {
    /** Stores the session now. */
    save(): Promise<void>;
    /** Shows what is stored: `req.session` is a new object then. */
    reload(): Promise<void>;
    /** Gives the request a new session with a new id; the old one has ended then. */
    regenerate(): Promise<void>;
    /** Ends the session. */
    destroy(): Promise<void>;
  }
}

/** The options of session(), checked, and none missing. */
export interface RequestSettings {
  readonly name: string;
  /** The first signs, all verify; `undefined`: cookie-parser's, which it leaves at the request. */
  readonly secrets: Secrets | undefined;
  readonly cookieOptions: (request: Request) => CookieOptions;
  readonly generateId: (request: Request) => string;
  /** Whether a new session follows from the request: its id or its cookie. */
  readonly dependsOnRequest: boolean;
  readonly trustProxy: boolean | undefined;
  readonly resave: boolean;
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly unsetDestroys: boolean;
  /** Whether a request goes on without a session where Redis can't be asked for it. */
  readonly goesOnWithout: boolean;
  readonly onCommitError: (error: SessionStoreError, request: Request, response: Response) => void;
}

type Callback = (error?: unknown) => void;

// Typed as private by express-session's types, and public in its documentation.
const constructors = expressSession as unknown as {
  Session: new (request: Request, data?: object) => Session & { readonly req: Request };
  Cookie: new (options: object) => Session["cookie"];
};

/** express-session's Cookie. */
export const SessionCookie = constructors.Cookie;

/** How a request parts with the session, or the id, that it came with: `destroy`, `regenerate` or a rotation. */
export interface Parting {
  readonly outcome: Outcome;
  state: "pending" | "done" | "failed";
}

/** What a request's session is now, if it has one. */
export function sessionOf(request: Partial<Pick<Request, "session">>): Session | undefined {
  return request.session ?? undefined;
}

/** The Store behind session(): what `req.sessionStore` is, and what a Session's own methods call. */
export class RequestStore extends EngineStore {
  readonly #settings: RequestSettings;
  readonly #partings = new WeakMap<Request, readonly Parting[]>();
  /** By the Session whose id is being replaced: what req.session is afterwards. */
  readonly #rotations = new WeakMap<object, Promise<Session | undefined>>();
  /** What was req.session before its id was replaced. */
  readonly #outdated = new WeakSet();

  constructor(sessions: Sessions, settings: RequestSettings) {
    super(sessions);
    this.#settings = settings;
  }

  /** Gives a request a new session. express-session assigns this to its store; here it belongs to it. */
  generate(request: Request): void {
    request.sessionID = this.#settings.generateId(request);
    const options = this.#settings.cookieOptions(request);
    const cookie = new SessionCookie(options);
    // The Cookie asks for the time twice, and may have come out a millisecond short.
    if (typeof options.maxAge === "number") cookie.originalMaxAge = options.maxAge;
    const secure = isSecure(request, this.#settings.trustProxy);
    if (options.secure === "auto") cookie.secure = secure;
    // express-session knows this value too; its types do not.
    if ((options.sameSite as string | undefined) === "auto") cookie.sameSite = secure ? "none" : "lax";
    request.session = new BoundSession(request, { cookie });
  }

  /**
   * Makes a loaded session the request's.
   *
   * @returns `undefined` if its record can't be used
   */
  show(request: Request, tracker: TrackedSession): Session | undefined {
    const fields = this.sessions.read(tracker) as SessionData | undefined;
    return fields && this.#show(request, fields, tracker);
  }

  override createSession(request: Request, data: SessionData): Session & SessionData {
    return this.#show(request, data, this.knownOf(data));
  }

  #show(request: Request, data: SessionData, tracker: TrackedSession | undefined): Session & SessionData {
    const { expires, originalMaxAge } = data.cookie as { expires?: unknown; originalMaxAge: number | null };
    const cookie = new SessionCookie(data.cookie);
    if (typeof expires === "string") Object.assign(cookie, { expires: new Date(expires) });
    cookie.originalMaxAge = originalMaxAge; // setting `expires` has changed it
    // Of a session that is stored the request takes the id too: it is stored, ended and found by that.
    request.sessionID = tracker?.id ?? request.sessionID;
    const session = new BoundSession(request, { ...data, cookie });
    request.session = session;
    return tracker ? this.track(session, tracker) : session;
  }

  /** A Session of ours knows its tracker itself: what is kept beside objects costs most when they are collected. */
  protected override knownOf(data: object): TrackedSession | undefined {
    return RequestBoundSession.trackerOf(data, this) ?? super.knownOf(data);
  }

  protected override track<T extends object>(session: T, tracker: TrackedSession): T {
    return RequestBoundSession.track(session, tracker, this) ? session : super.track(session, tracker);
  }

  override set(sid: string, session: SessionData, callback?: StoreCallback<void>): Promise<void> {
    const rotation = this.#rotations.get(session);
    if (rotation) return deliver(this.#setAfter(rotation, sid, session), callback);
    if (!this.#outdated.has(session)) return super.set(sid, session, callback);
    const message = "This session has got another id: go on with req.session. Nothing was stored.";
    return deliver(Promise.reject(new SessionStoreError("INVALID_SESSION", message)), callback);
  }

  /** Ends a request's session and gives it a new one. */
  override regenerate(request: Request, callback?: Callback): Outcome {
    return this.#part(request, callback, (done) => void deliver(this.#regenerate(request), done));
  }

  /** Ends a request's session. */
  end(request: Request, session: Pick<Session, "id">, callback?: Callback): Outcome {
    return this.#part(request, callback, (done) => void deliver(this.#end(session), done));
  }

  /** Gives a request's session another id. */
  rotate(request: Request, graceMs: number | undefined): Outcome {
    return this.#part(request, undefined, (done) => void this.#rotate(request, graceMs).then(() => done(), done));
  }

  /** How the request's handler has parted with what it came with: each time it did. */
  partingsOf(request: Request): readonly Parting[] {
    return this.#partings.get(request) ?? [];
  }

  async #end(session: Pick<Session, "id">): Promise<void> {
    await this.#rotations.get(session)?.catch(() => undefined);
    await this.destroy(session.id);
  }

  async #regenerate(request: Request): Promise<void> {
    try {
      // By its new id: the old one does not lead to what has become another user's.
      await this.#rotations.get(request.session)?.catch(() => undefined);
      await this.destroy(request.sessionID);
    } finally {
      // Also where that failed: a handler that does not look must not sign somebody in under an id that others may know.
      this.generate(request);
    }
  }

  /** Stores what a Session became while its id was replaced: it is part of the new one, if there is one. */
  async #setAfter(rotation: Promise<Session | undefined>, sid: string, session: SessionData): Promise<void> {
    const rotated = await rotation.catch(() => undefined);
    return rotated ? this.set(rotated.id, rotated) : this.set(sid, session);
  }

  /** One rotation of a session after the other. */
  async #rotate(request: Request, graceMs: number | undefined): Promise<void> {
    const session = sessionOf(request);
    if (!session) return;
    const earlier = this.#rotations.get(session);
    if (earlier) {
      await earlier.catch(() => undefined);
      return this.#rotate(request, graceMs);
    }
    const rotation = this.#replaceId(request, session, graceMs).finally(() => this.#rotations.delete(session));
    this.#rotations.set(session, rotation);
    await rotation;
  }

  async #replaceId(request: Request, session: Session, graceMs: number | undefined): Promise<Session | undefined> {
    const newId = this.#settings.generateId(request);
    const rotated = await this.sessions.rotate(this.trackerOf(session), session, { newId, graceMs });
    if (!rotated) return undefined;
    const live = sessionOf(request);
    // Destroyed or regenerated meanwhile: by an id that the session no longer has.
    if (live?.id !== session.id) return void (await this.sessions.destroy(newId));
    this.#outdated.add(live);
    const { tracked, fields, given } = rotated;
    const next = this.#show(request, fields as unknown as SessionData, tracked);
    // Once the request has its new session, since what the old one has become may be nothing that can be stored.
    show(next, fields, mergeSessions(given, this.sessions.copy(live), fields, rebasing).value);
    return next;
  }

  #part(request: Request, callback: Callback | undefined, work: (done: Callback) => void): Outcome {
    const outcome = Outcome.of(work, callback, (error) => {
      parting.state = error ? "failed" : "done";
    });
    const parting: Parting = { outcome, state: "pending" };
    this.#partings.set(request, [...this.partingsOf(request), parting]);
    return outcome;
  }
}

/**
 * Gives a request's session a new id, with the same fields (S7): `req.session` is a new object then. For whatever raises
 * what a session may do; a sign-in is safer with `regenerate`, which leaves nothing of the session before it.
 *
 * A session that has been destroyed meanwhile stays gone: then nothing is stored, and the response sets no cookie. What the
 * handler changes in the old object meanwhile is part of the new one.
 *
 * @param request one with a session of {@link session}
 * @param options `graceMs`: how long the old id still leads to the session, so that requests under way stay signed in;
 * default 0. It needs `userOf` and hashed ids, and does not hold where the user has changed.
 * @returns when it is stored. If it fails and nobody asks, the response is the failure.
 * @throws {@link SessionStoreError} any code. After `OUTCOME_UNKNOWN` the old id may have ended.
 * @throws TypeError for a request without a session of ours, or a `graceMs` that can't hold
 */
export function rotateSession(
  request: Request,
  options: { readonly graceMs?: number | undefined } = {},
): Promise<void> {
  const store: unknown = request.sessionStore;
  if (store instanceof RequestStore && sessionOf(request)) {
    return store.rotate(request, options.graceMs);
  }
  return Promise.reject(new TypeError("rotateSession needs a request that has a session of session()."));
}

/** The Session that handlers see under session(): as express-session's, with promises for those who give no callback. */
class RequestBoundSession extends constructors.Session {
  #tracked: { readonly tracker: TrackedSession; readonly by: RequestStore } | undefined;

  // Static: what is on a Session's prototype can't be the name of a field.
  static trackerOf(session: object, store: RequestStore): TrackedSession | undefined {
    return #tracked in session && session.#tracked?.by === store ? session.#tracked.tracker : undefined;
  }

  /** @returns whether it is one of these, and not another store's */
  static track(session: object, tracker: TrackedSession, by: RequestStore): boolean {
    if (!(#tracked in session) || (session.#tracked && session.#tracked.by !== by)) return false;
    session.#tracked = { tracker, by };
    return true;
  }

  override save(): Promise<void>;
  override save(callback: Callback | undefined): this;
  override save(callback?: Callback): this | Promise<void> {
    return this.#answer(
      callback,
      Outcome.of((done) => super.save(done), callback),
    );
  }

  override reload(): Promise<void>;
  override reload(callback: Callback | undefined): this;
  override reload(callback?: Callback): this | Promise<void> {
    return this.#answer(
      callback,
      Outcome.of((done) => super.reload(done), callback),
    );
  }

  override regenerate(): Promise<void>;
  override regenerate(callback: Callback | undefined): this;
  override regenerate(callback?: Callback): this | Promise<void> {
    return this.#answer(callback, this.#store.regenerate(this.req, callback));
  }

  override destroy(): Promise<void>;
  override destroy(callback: Callback | undefined): this;
  override destroy(callback?: Callback): this | Promise<void> {
    Reflect.deleteProperty(this.req, "session");
    return this.#answer(callback, this.#store.end(this.req, this, callback));
  }

  /**
   * express-session's Cookie asks for the time twice when `maxAge` is set, so a touch across the turn of a millisecond
   * would shorten it by one, for good, and make a session that has not changed look as if it had.
   */
  override resetMaxAge(): this {
    const { originalMaxAge } = this.cookie;
    super.resetMaxAge();
    this.cookie.originalMaxAge = originalMaxAge;
    return this;
  }

  get #store(): RequestStore {
    return this.req.sessionStore as unknown as RequestStore;
  }

  #answer(callback: Callback | undefined, outcome: Outcome): this | Outcome {
    return callback ? this : outcome;
  }
}

/** As express-session's types would have it: to them, only its own class makes a Session. */
const BoundSession = RequestBoundSession as unknown as new (
  request: Request,
  data: SessionData,
) => Session & SessionData;
