import type { CipherKey } from "node:crypto";
import type { Request, Response } from "express";
import expressSession, { type CookieOptions, type Session, type SessionData } from "express-session";
import { type CookieAttributes, clearedCookie, isSecure, sessionCookie } from "./cookie.ts";
import { EngineStore } from "./engine-store.ts";
import { SessionStoreError } from "./errors.ts";
import type { GateKeeper } from "./response-gate.ts";
import type { Sessions } from "./sessions.ts";
import type { TrackedSession } from "./tracked-session.ts";

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

/** How a request ends the session that it came with: its `destroy` or `regenerate`. */
interface Ending {
  /** Fulfilled when the session has ended, rejected when it has not. */
  readonly done: Promise<void>;
  state: "pending" | "ended" | "failed";
  /** Whether the handler gave a callback, and so is told of a failure itself. */
  readonly isWatched: boolean;
}

/** The Store behind session(): what `req.sessionStore` is, and what a Session's own methods call. */
export class RequestStore extends EngineStore {
  readonly #settings: RequestSettings;
  readonly #endings = new WeakMap<Request, Ending>();

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
    super.regenerate(request, this.#ending(request, callback));
  }

  /** How the request's handler has ended its session, if it has. */
  endingOf(request: Request): Ending | undefined {
    return this.#endings.get(request);
  }

  #watched<T extends Session>(request: Request, session: T): T {
    const destroy = session.destroy.bind(session);
    const value = (callback?: (error?: unknown) => void) => destroy(this.#ending(request, callback));
    return Object.defineProperty(session, "destroy", { value, configurable: true, writable: true });
  }

  /** Notes that a request ends its session, and gives the callback that tells how that went. */
  #ending(request: Request, callback: ((error?: unknown) => void) | undefined): (error?: unknown) => void {
    let tell: (error?: unknown) => void = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      tell = (error) => {
        if (error) reject(error instanceof Error ? error : new Error("The session was not ended.", { cause: error }));
        else resolve();
      };
    });
    done.catch(() => undefined); // asked for later, or never
    const ending: Ending = { done, state: "pending", isWatched: callback !== undefined };
    this.#endings.set(request, ending);
    return (error) => {
      ending.state = error ? "failed" : "ended";
      tell(error);
      callback?.(error);
    };
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
  #isMaterialised = false;

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
    const ending = this.#store.endingOf(this.#request);
    // An answer must not overtake the end of its session, nor promise one that failed unheard.
    if (ending?.state === "pending" || (ending?.state === "failed" && !ending.isWatched)) {
      return ending.done.then(() => this.#decide() ?? nothing);
    }
    return this.#decide();
  }

  beforeEnd(): Promise<void> | undefined {
    const session = this.#isMaterialised ? this.#current() : undefined;
    if (!session) return undefined;
    const tracker = this.#store.trackerOf(session);
    // Headers have left, so a session born since then has no cookie to be found by.
    if (!tracker.isStored || this.#sessions.isUnchanged(tracker, session)) return undefined;
    return this.#sessions.commit(tracker, session).then(() => undefined);
  }

  refuse(error: unknown): void {
    const failure =
      error instanceof SessionStoreError
        ? error
        : new SessionStoreError("INVALID_SESSION", "The session could not be stored.", { cause: error });
    this.#settings.onCommitError(failure, this.#request, this.#response);
  }

  #decide(): Promise<() => void> | undefined {
    if (!this.#isMaterialised) {
      if (this.#loaded && !this.#settings.rolling) {
        void this.#sessions.touch(this.#loaded);
        return undefined;
      }
      if (!this.#loaded && !this.#settings.saveUninitialized) return undefined;
      this.#materialise();
    }
    const session = this.#current();
    if (!session) return this.#leaveNone();
    const tracker = this.#store.trackerOf(session);
    const isNew = session.id !== this.#cookieId;
    const isWanted = tracker.isStored || this.#settings.saveUninitialized || this.#hasEnded() || !isEmpty(session);
    if (isNew && !isWanted) return undefined;
    // A use: the browser's copy of the cookie, where one is sent, lives as long as the record.
    session.touch();
    if (this.#sessions.isUnchanged(tracker, session)) return this.#leaveUnchanged(session, tracker, isNew);
    return this.#leaveChanged(session, tracker, isNew);
  }

  async #leaveChanged(session: Session, tracker: TrackedSession, isNew: boolean): Promise<() => void> {
    // Before anything is stored: attributes that no cookie can have are an error.
    this.#cookieFor(session, tracker);
    const outcome = await this.#sessions.commit(tracker, session);
    if (outcome === "unchanged") return (await this.#leaveUnchanged(session, tracker, isNew)) ?? nothing;
    return () => {
      const isWanted = isNew || this.#settings.rolling || attributesOf(session.cookie).expires != null;
      if (outcome === "stored" && isWanted) this.#send(this.#cookieFor(session, tracker));
    };
  }

  #leaveUnchanged(session: Session, tracker: TrackedSession, isNew: boolean): Promise<() => void> | undefined {
    if (this.#settings.rolling && !isNew) return this.#roll(session, tracker);
    void this.#sessions.touch(tracker);
    if (!isNew) return undefined;
    const give = () => this.#send(this.#cookieFor(session, tracker));
    return Promise.resolve(give);
  }

  /** S3: not without knowing that the session is alive: its cookie could overwrite that of a new sign-in. */
  async #roll(session: Session, tracker: TrackedSession): Promise<() => void> {
    const state = await this.#sessions.touch(tracker, { always: true });
    return () => {
      if (state === "alive") this.#send(this.#cookieFor(session, tracker));
    };
  }

  /** The handler left no session. */
  #leaveNone(): Promise<() => void> | undefined {
    const clear = () => this.#clearCookie();
    if (this.#settings.unsetDestroys) return this.#sessions.destroy(this.#request.sessionID).then(() => clear);
    return this.#hasEnded() ? Promise.resolve(clear) : undefined;
  }

  #current(): Session | undefined {
    const held: Partial<Pick<Request, "session">> = this.#request;
    return held.session ?? undefined;
  }

  #hasEnded(): boolean {
    return this.#store.endingOf(this.#request)?.state === "ended";
  }

  /** The `Set-Cookie` of a session; none for a cookie that only TLS may carry on a connection without. */
  #cookieFor(session: Session, tracker: TrackedSession): string | undefined {
    const { name, secrets, trustProxy } = this.#settings;
    if (session.cookie.secure && !isSecure(this.#request, trustProxy)) return undefined;
    const attributes = attributesOf(session.cookie);
    const { remainingMs } = tracker;
    // S6: the cookie does not outlive the record, whose end may be the absolute limit's.
    const end = remainingMs === undefined ? Infinity : Date.now() + remainingMs;
    if (attributes.expires instanceof Date && attributes.expires.getTime() > end) attributes.expires = new Date(end);
    return sessionCookie(name, session.id, secrets[0], attributes);
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
        this.#materialise();
        return this.#request[property];
      },
      set: (value: unknown) => {
        this.#materialise();
        Object.defineProperty(this.#request, property, { value, configurable: true, enumerable: true, writable: true });
      },
    });
  }

  #materialise(): void {
    if (this.#isMaterialised) return;
    this.#isMaterialised = true;
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

const nothing = () => undefined;

/** Whether nobody has put anything into a new session. */
function isEmpty(session: Session): boolean {
  return Object.entries(session).every(([key, value]) => key === "cookie" || value === undefined);
}

function attributesOf(cookie: Session["cookie"]): CookieAttributes {
  return (cookie as unknown as { data: CookieAttributes }).data;
}
