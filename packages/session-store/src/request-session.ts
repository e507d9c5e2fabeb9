import type { Request, Response } from "express";
import type { CookieOptions, Session } from "express-session";
import type { CommitOutcome } from "./committer.ts";
import { type CookieAttributes, type Secrets, clearedCookie, isSecure, sessionCookie } from "./cookie.ts";
import { SessionStoreError } from "./errors.ts";
import { type RequestSettings, type RequestStore, SessionCookie, sessionOf } from "./request-store.ts";
import { type SessionProperties, giveSession } from "./request-properties.ts";
import type { GateKeeper } from "./response-gate.ts";
import type { Sessions } from "./sessions.ts";
import type { TrackedSession } from "./tracked-session.ts";

/** What all requests of one middleware share. */
export interface Shared {
  readonly sessions: Sessions;
  readonly store: RequestStore;
  readonly settings: RequestSettings;
}

/** What one request came with. */
export interface Arrival {
  readonly request: Request;
  readonly response: Response;
  readonly secrets: Secrets;
  /** The id that the request's cookie brought. */
  readonly cookieId: string | undefined;
  readonly cookieOptions: CookieOptions;
}

/** The session of one request: made when a handler first looks at it, committed before the response leaves (S4). */
export class RequestSession implements GateKeeper, SessionProperties {
  readonly #arrival: Arrival;
  readonly #request: Request;
  readonly #store: RequestStore;
  readonly #sessions: Sessions;
  readonly #settings: RequestSettings;
  readonly #loaded: TrackedSession | undefined;
  #isMaterialised = false;
  #session: Request["session"] | undefined;
  #sessionID: string | undefined;
  #sessionStore: Request["sessionStore"] | undefined;

  /** @param loaded the session that the cookie names, if it exists */
  constructor(arrival: Arrival, loaded: TrackedSession | undefined, { sessions, store, settings }: Shared) {
    this.#arrival = arrival;
    this.#request = arrival.request;
    this.#loaded = loaded;
    this.#sessions = sessions;
    this.#store = store;
    this.#settings = settings;
    giveSession(this.#request, this);
    // While the request's path is still what the app's options are to see.
    if (!loaded && settings.dependsOnRequest) this.#materialise();
  }

  /** What `req.sessionStore` is. The types ask of `generate` that it takes less than Express' Request. */
  get sessionStore(): Request["sessionStore"] {
    return this.#sessionStore ?? (this.#store as unknown as Request["sessionStore"]);
  }

  set sessionStore(value) {
    this.#sessionStore = value;
  }

  /** What `req.session` is. */
  get session(): Request["session"] | undefined {
    this.#materialise();
    return this.#session;
  }

  set session(value) {
    this.#materialise();
    this.#session = value;
  }

  /** What `req.sessionID` is. */
  get sessionID(): string | undefined {
    this.#materialise();
    return this.#sessionID;
  }

  set sessionID(value) {
    this.#materialise();
    this.#sessionID = value;
  }

  beforeHeaders(): Promise<() => void> | undefined {
    return this.#parted()?.then(() => this.#decide() ?? nothing) ?? this.#decide();
  }

  beforeEnd(): Promise<void> | undefined {
    return this.#parted()?.then(() => this.#commitLate()) ?? this.#commitLate();
  }

  refuse(error: unknown): void {
    const failure =
      error instanceof SessionStoreError
        ? error
        : new SessionStoreError("INVALID_SESSION", "The session could not be stored.", { cause: error });
    this.#settings.onCommitError(failure, this.#request, this.#arrival.response);
  }

  /** An answer must not overtake the end of its session, nor promise one that failed unheard. */
  #parted(): Promise<unknown> | undefined {
    const open = this.#store
      .partingsOf(this.#request)
      .filter(({ state, outcome }) => state === "pending" || (state === "failed" && !outcome.isHeard));
    return open.length > 0 ? Promise.all(open.map(({ outcome }) => outcome.unheard())) : undefined;
  }

  /** Stores what was changed after the headers had left, or ends what was unset then. */
  #commitLate(): Promise<void> | undefined {
    if (!this.#isMaterialised) return undefined;
    const session = sessionOf(this.#request);
    if (!session) return this.#endUnset();
    const tracker = this.#store.trackerOf(session);
    // Headers have left, so a session born since then has no cookie to be found by.
    if (!tracker.isStored) return undefined;
    return this.#sessions.commitIfChanged(tracker, session)?.then(() => undefined);
  }

  #decide(): Promise<() => void> | undefined {
    if (!this.#isMaterialised && "session" in this.#request) {
      if (this.#loaded && this.#mayStayUnseen(this.#loaded)) {
        void this.#sessions.touch(this.#loaded);
        return undefined;
      }
      if (!this.#loaded && !this.#settings.saveUninitialized) return undefined;
      this.#materialise();
    }
    const session = sessionOf(this.#request);
    if (!session) return this.#leaveNone();
    // No cookie can hold what a handler, or genid, has put in the id's place.
    if (typeof this.#request.sessionID !== "string") return undefined;
    const tracker = this.#store.trackerOf(session);
    if (this.#isNew(session, tracker) && !this.#isWanted(session, tracker)) return undefined;
    // A use: the browser's copy of the cookie, where one is sent, lives as long as the record.
    session.touch();
    const commit = this.#sessions.commitIfChanged(tracker, session);
    return commit ? this.#leaveChanged(session, tracker, commit) : this.#leaveUnchanged(session, tracker);
  }

  /** Whether a session that the browser does not know is to exist. */
  #isWanted(session: Session, tracker: TrackedSession): boolean {
    if (tracker.isStored || !isEmpty(session)) return true;
    // S10: the cookie of one that could not be ended is not overwritten for nothing.
    if (this.#loaded && this.#hasParted("failed")) return false;
    return this.#settings.saveUninitialized || this.#hasParted("done");
  }

  async #leaveChanged(session: Session, tracker: TrackedSession, commit: Promise<CommitOutcome>): Promise<() => void> {
    const outcome = await commit;
    if (outcome === "unchanged") return (await this.#leaveUnchanged(session, tracker)) ?? nothing;
    return () => {
      const { rolling } = this.#settings;
      const isWanted = this.#isNew(session, tracker) || rolling || attributesOf(session.cookie).expires != null;
      if (outcome === "stored" && isWanted) this.#send(this.#cookieFor(session, tracker));
    };
  }

  #leaveUnchanged(session: Session, tracker: TrackedSession): Promise<() => void> | undefined {
    const { rolling, resave } = this.#settings;
    const isNew = this.#isNew(session, tracker);
    if (isNew || rolling || resave) return this.#prolong(session, tracker, { sends: isNew || rolling });
    void this.#sessions.touch(tracker);
    return undefined;
  }

  /** Records this use, whenever the last one was. */
  async #prolong(session: Session, tracker: TrackedSession, { sends }: { sends: boolean }): Promise<() => void> {
    const state = await this.#sessions.touch(tracker, { always: true });
    // S3: not without knowing that the session is alive: its cookie could overwrite that of a new sign-in. What this
    // request has stored itself nobody could find without a cookie: unless it is known to have gone, it gets one.
    const isAlive = state === "alive" || (state === "unknown" && tracker !== this.#loaded);
    return () => {
      if (sends && isAlive) this.#send(this.#cookieFor(session, tracker));
    };
  }

  /** The id that the browser is to know: the session may have got another since this request came, or one of the handler's. */
  #idOf(session: Session, tracker: TrackedSession): string {
    const { sessionID } = this.#request;
    return sessionID === session.id ? (tracker.base?.id ?? sessionID) : sessionID;
  }

  /** Whether the browser's cookie does not lead to the session, or only for a while. */
  #isNew(session: Session, tracker: TrackedSession): boolean {
    return this.#idOf(session, tracker) !== this.#arrival.cookieId;
  }

  /** The handler left no session. */
  #leaveNone(): Promise<() => void> | undefined {
    const clear = () => this.#clearCookie();
    return this.#endUnset()?.then(() => clear) ?? (this.#hasParted("done") ? Promise.resolve(clear) : undefined);
  }

  #endUnset(): Promise<void> | undefined {
    const { sessionID } = this.#request;
    return this.#settings.unsetDestroys && sessionID ? this.#sessions.destroy(sessionID) : undefined;
  }

  /** Whether a session that no handler has looked at needs nothing but that its use is recorded. */
  #mayStayUnseen(loaded: TrackedSession): boolean {
    const isForwarded = loaded.id !== this.#arrival.cookieId;
    return !isForwarded && !this.#settings.rolling && !this.#sessions.isOutdated(loaded);
  }

  #hasParted(how: "done" | "failed"): boolean {
    return this.#store.partingsOf(this.#request).some(({ state }) => state === how);
  }

  /** The `Set-Cookie` of a session; none for a cookie that only TLS may carry on a connection without. */
  #cookieFor(session: Session, tracker: TrackedSession): string | undefined {
    const { name, trustProxy } = this.#settings;
    if (session.cookie.secure && !isSecure(this.#request, trustProxy)) return undefined;
    const attributes = attributesOf(session.cookie);
    const { originalMaxAge } = session.cookie;
    if (typeof originalMaxAge === "number") {
      // From when it is sent. S6: the cookie does not outlive the record, whose end may be the absolute limit's.
      attributes.expires = new Date(Date.now() + Math.min(originalMaxAge, tracker.remainingMs ?? Infinity));
    }
    return sessionCookie(name, this.#idOf(session, tracker), this.#arrival.secrets[0], attributes);
  }

  #send(cookie: string | undefined): void {
    if (cookie !== undefined) this.#arrival.response.appendHeader("Set-Cookie", cookie);
  }

  #clearCookie(): void {
    if (this.#arrival.cookieId === undefined || this.#isCookieSet()) return;
    const attributes = attributesOf(new SessionCookie(this.#arrival.cookieOptions));
    const secure = isSecure(this.#request, this.#settings.trustProxy);
    this.#send(clearedCookie(this.#settings.name, { ...attributes, secure: secure && attributes.secure !== false }));
  }

  /** A handler written for express-session, which leaves the cookie behind, clears it itself. */
  #isCookieSet(): boolean {
    const cookies = [this.#arrival.response.getHeader("Set-Cookie") ?? []].flat();
    return cookies.some((cookie) => String(cookie).startsWith(`${this.#settings.name}=`));
  }

  #materialise(): void {
    if (this.#isMaterialised) return;
    this.#isMaterialised = true;
    const shown = this.#loaded && this.#store.show(this.#request, this.#loaded);
    if (!shown) this.#store.generate(this.#request);
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
