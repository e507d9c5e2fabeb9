import type { CipherKey } from "node:crypto";
import type { Request, Response } from "express";
import expressSession, { type CookieOptions, type Session, type SessionData } from "express-session";
import { type CookieAttributes, clearedCookie, isSecure, sessionCookie } from "./cookie.ts";
import { EngineStore } from "./engine-store.ts";
import { SessionStoreError } from "./errors.ts";
import type { GateKeeper } from "./response-gate.ts";
import type { Sessions, TrackedSession } from "./sessions.ts";

/** The options of session(), checked, and none missing. */
export interface RequestSettings {
  readonly name: string;
  /** The first signs, all verify. */
  readonly secrets: readonly [CipherKey, ...CipherKey[]];
  readonly cookieOptions: (request: Request) => CookieOptions;
  readonly generateId: (request: Request) => string;
  readonly trustProxy: boolean | undefined;
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly unsetDestroys: boolean;
  readonly onCommitError: (error: SessionStoreError, request: Request, response: Response) => void;
}

// Typed as private by express-session's types, and public in its documentation.
type Constructors = {
  Session: new (request: Request) => Session;
  Cookie: new (options: CookieOptions) => Session["cookie"];
};
const { Session: NewSession, Cookie: NewCookie } = expressSession as unknown as Constructors;

/** The Store behind session(): what `req.sessionStore` is, and what a Session's own methods call. */
export class RequestStore extends EngineStore {
  readonly #settings: RequestSettings;
  /** Requests that ended their session, by whatever way. */
  readonly #ended = new WeakSet<Request>();

  constructor(sessions: Sessions, settings: RequestSettings) {
    super(sessions);
    this.#settings = settings;
  }

  /** Gives a request a new session. express-session assigns this to its store; here it belongs to it. */
  generate(request: Request): void {
    request.sessionID = this.#settings.generateId(request);
    const session = new NewSession(request);
    const options = this.#settings.cookieOptions(request);
    session.cookie = new NewCookie(options);
    // The Cookie asks for the time twice, and may have come out a millisecond short.
    if (typeof options.maxAge === "number") session.cookie.originalMaxAge = options.maxAge;
    const secure = isSecure(request, this.#settings.trustProxy);
    if (options.secure === "auto") session.cookie.secure = secure;
    // express-session knows this value too; its types do not.
    if ((options.sameSite as string | undefined) === "auto") session.cookie.sameSite = secure ? "none" : "lax";
    request.session = this.#watched(request, session);
  }

  override createSession(request: Request, data: SessionData): Session & SessionData {
    return this.#watched(request, super.createSession(request, data));
  }

  override regenerate(request: Request, callback: (error?: unknown) => void): void {
    this.#ended.add(request);
    super.regenerate(request, callback);
  }

  /** Whether the request's handler ended the session that it came with. */
  hasEnded(request: Request): boolean {
    return this.#ended.has(request);
  }

  /** Notes a `destroy`: only the request that destroys a session may clear its cookie (S3). */
  #watched<T extends Session>(request: Request, session: T): T {
    const destroy = session.destroy.bind(session);
    const value: Session["destroy"] = (callback) => {
      this.#ended.add(request);
      return destroy(callback);
    };
    Object.defineProperty(session, "destroy", { value, configurable: true, writable: true });
    return session;
  }
}

/** The session of one request: made when a handler first looks at it, committed before the response leaves (S4). */
export class RequestSession implements GateKeeper {
  readonly #request: Request;
  readonly #response: Response;
  readonly #store: RequestStore;
  readonly #sessions: Sessions;
  readonly #settings: RequestSettings;
  /** The id that the request's cookie brought. */
  readonly #cookieId: string | undefined;
  readonly #loaded: TrackedSession | undefined;
  #lookedAt = false;

  /** @param loaded the session that the cookie names, if it exists */
  constructor(
    { request, response, cookieId }: { request: Request; response: Response; cookieId: string | undefined },
    loaded: TrackedSession | undefined,
    { sessions, store, settings }: { sessions: Sessions; store: RequestStore; settings: RequestSettings },
  ) {
    this.#request = request;
    this.#response = response;
    this.#cookieId = cookieId;
    this.#loaded = loaded;
    this.#sessions = sessions;
    this.#store = store;
    this.#settings = settings;
    // The types ask of `generate` that it takes less than Express' Request.
    request.sessionStore = store as unknown as Request["sessionStore"];
    this.#lazily("session");
    this.#lazily("sessionID");
  }

  beforeHeaders(): Promise<() => void> | undefined {
    if (!this.#lookedAt) {
      if (this.#loaded && !this.#settings.rolling) {
        void this.#sessions.touch(this.#loaded);
        return undefined;
      }
      if (!this.#loaded && !this.#settings.saveUninitialized) return undefined;
      this.#look();
    }
    const session = this.#request.session as Session | null | undefined;
    return session ? this.#settle(session) : this.#settleWithout();
  }

  beforeEnd(): Promise<void> | undefined {
    const session = this.#lookedAt ? (this.#request.session as Session | null | undefined) : undefined;
    if (!session) return undefined;
    const tracker = this.#store.trackerOf(session);
    // Headers have left, so a session born since then has no cookie to be found by.
    if (!tracker.isStored || this.#sessions.isUnchanged(tracker, session)) return undefined;
    return this.#store.commit(tracker, session).then(() => undefined);
  }

  refuse(error: unknown): void {
    const failure =
      error instanceof SessionStoreError
        ? error
        : new SessionStoreError("INVALID_SESSION", "The session could not be stored.", { cause: error });
    this.#settings.onCommitError(failure, this.#request, this.#response);
  }

  /** The handler left a session: store it if it has changed, and give the browser its id. */
  #settle(session: Session): Promise<() => void> | undefined {
    const tracker = this.#store.trackerOf(session);
    const isNew = session.id !== this.#cookieId;
    if (isNew && !tracker.isStored && !this.#settings.saveUninitialized && isEmpty(session)) {
      return this.#settleWithout();
    }
    // A use: the browser's copy of the cookie, where one is sent, lives as long as the record.
    session.touch();
    if (!this.#sessions.isUnchanged(tracker, session)) {
      const expires = attributesOf(session.cookie).expires != null;
      const wanted = isNew || this.#settings.rolling || expires;
      // Made first: attributes that no cookie can have are an error before anything is stored.
      const cookie = wanted ? this.#cookieFor(session) : undefined;
      return this.#store.commit(tracker, session).then((outcome) => () => {
        if (outcome !== "gone") this.#send(cookie);
      });
    }
    if (isNew) this.#send(this.#cookieFor(session));
    else if (this.#settings.rolling) return this.#roll(session, tracker);
    else void this.#sessions.touch(tracker);
    return undefined;
  }

  /** S3: not without knowing that the session is alive: its cookie could overwrite that of a new sign-in. */
  async #roll(session: Session, tracker: TrackedSession): Promise<() => void> {
    const cookie = this.#cookieFor(session);
    const state = await this.#sessions.touch(tracker, { always: true });
    return () => {
      if (state === "alive") this.#send(cookie);
    };
  }

  /** The handler left no session. */
  #settleWithout(): Promise<() => void> | undefined {
    const ended = this.#store.hasEnded(this.#request);
    const unset = (this.#request.session as Session | null | undefined) == null;
    if (this.#loaded && unset && this.#settings.unsetDestroys && !ended) {
      return this.#sessions.destroy(this.#loaded.id).then(() => () => {
        this.#clearCookie();
      });
    }
    if (ended) this.#clearCookie();
    return undefined;
  }

  /** The `Set-Cookie` of a session; none for a cookie that only TLS may carry on a connection without. */
  #cookieFor(session: Session): string | undefined {
    const { name, secrets, trustProxy } = this.#settings;
    if (session.cookie.secure && !isSecure(this.#request, trustProxy)) return undefined;
    return sessionCookie(name, session.id, secrets[0], attributesOf(session.cookie));
  }

  #send(cookie: string | undefined): void {
    if (cookie !== undefined) this.#response.appendHeader("Set-Cookie", cookie);
  }

  #clearCookie(): void {
    if (this.#cookieId === undefined || this.#isCookieSet()) return;
    const attributes = attributesOf(new NewCookie(this.#settings.cookieOptions(this.#request)));
    const secure = isSecure(this.#request, this.#settings.trustProxy);
    this.#send(clearedCookie(this.#settings.name, { ...attributes, secure: secure && attributes.secure !== false }));
  }

  /** A handler written for express-session, which leaves the cookie behind, clears it itself. */
  #isCookieSet(): boolean {
    const cookies = [this.#response.getHeader("Set-Cookie") ?? []].flat();
    return cookies.some((cookie) => String(cookie).startsWith(`${this.#settings.name}=`));
  }

  /** S5: a session that no handler looks at is never parsed, and a new one not made. */
  #lazily(property: "session" | "sessionID"): void {
    Object.defineProperty(this.#request, property, {
      configurable: true,
      enumerable: true,
      get: () => {
        this.#look();
        return this.#request[property];
      },
      set: (value: unknown) => {
        this.#look();
        Object.defineProperty(this.#request, property, { value, configurable: true, enumerable: true, writable: true });
      },
    });
  }

  #look(): void {
    if (this.#lookedAt) return;
    this.#lookedAt = true;
    for (const property of ["session", "sessionID"]) {
      Object.defineProperty(this.#request, property, {
        value: undefined,
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    const fields = this.#loaded && this.#store.fieldsOf(this.#loaded);
    if (this.#loaded && fields) {
      this.#request.sessionID = this.#loaded.id;
      this.#store.createSession(this.#request, fields);
    } else {
      this.#store.generate(this.#request);
    }
  }
}

/** Whether nobody has put anything into a new session. */
function isEmpty(session: Session): boolean {
  return Object.entries(session).every(([key, value]) => key === "cookie" || value === undefined);
}

function attributesOf(cookie: Session["cookie"]): CookieAttributes {
  return (cookie as unknown as { data: CookieAttributes }).data;
}
