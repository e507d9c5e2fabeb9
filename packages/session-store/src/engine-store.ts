import type { Request } from "express";
import expressSession, { type Session, type SessionData } from "express-session";
import type { Sessions } from "./sessions.ts";
import type { TrackedSession } from "./tracked-session.ts";

/** Called once with an error, or with `null` and the outcome. */
export type StoreCallback<T> = (error: unknown, value?: T) => void;

/** What becomes of a request whose session can't be loaded because Redis can't be asked. */
export type OnUnavailable = "reject" | "anonymous";

/**
 * Whether such a request goes on without a session.
 *
 * @throws TypeError for what it can't mean
 */
export function goesOnWithout(onUnavailable: OnUnavailable = "reject"): boolean {
  if (["reject", "anonymous"].includes(onUnavailable)) return onUnavailable === "anonymous";
  throw new TypeError('Lockstep sessions: onUnavailable must be "reject" or "anonymous".');
}

/**
 * The engine as express-session's Store: callbacks in front, and the tracker of each session kept beside its object.
 *
 * Both adapters stand on it: RedisStore is one for stock express-session, session() owns one.
 */
export class EngineStore extends expressSession.Store {
  /** @internal */
  protected readonly sessions: Sessions;
  // Keyed by the object that `get` gave, or by the Session made from it; nothing is added to the user's data.
  readonly #trackers = new WeakMap<object, TrackedSession>();

  /** @internal */
  constructor(sessions: Sessions) {
    super();
    this.sessions = sessions;
  }

  /**
   * Reads a session's fields.
   *
   * @param sid its id
   * @param callback given the fields, or `undefined` if there is no such session; without it the promise tells
   */
  override get(sid: string, callback?: StoreCallback<SessionData | undefined>): Promise<SessionData | undefined> {
    return deliver(this.#get(sid), callback);
  }

  /**
   * Stores a session, if it has changed (S1–S3). A plain object that did not come from `get` is stored whatever is
   * there: outside S1 and S3.
   *
   * @param sid its id
   * @param session the Session, or the object that `get` gave
   * @param callback told when stored; without it the promise tells
   */
  override set(sid: string, session: SessionData, callback?: StoreCallback<void>): Promise<void> {
    return deliver(this.#set(sid, session), callback);
  }

  /**
   * Records that a session was used, throttled to a tenth of its idle limit (S5).
   *
   * @param sid its id
   * @param session the Session, or the object that `get` gave
   * @param callback told when recorded; without it the promise tells
   */
  override touch(sid: string, session: SessionData, callback?: StoreCallback<void>): Promise<void> {
    return deliver(this.#touch(sid, session), callback);
  }

  /**
   * Ends a session everywhere (S3).
   *
   * @param sid its id
   * @param callback told when it has ended; without it the promise tells
   */
  override destroy(sid: string, callback?: StoreCallback<void>): Promise<void> {
    return deliver(this.sessions.destroy(sid), callback);
  }

  /** @internal express-session makes the Session object through this; it carries what is known of `data` (S1). */
  override createSession(req: Request, data: SessionData): Session & SessionData {
    const session = keepMaxAge(super.createSession(req, data));
    const tracker = this.knownOf(data);
    return tracker ? this.track(session, tracker) : session;
  }

  /** The tracker of fields that `get` gave, or of the Session made from them. @internal */
  protected knownOf(data: object): TrackedSession | undefined {
    return this.#trackers.get(data);
  }

  /** Keeps a tracker beside the fields, or the Session, that it is of. @internal */
  protected track<T extends object>(session: T, tracker: TrackedSession): T {
    this.#trackers.set(session, tracker);
    return session;
  }

  /** The tracker of a Session; one that has none was born in this request. @internal */
  trackerOf(session: Session): TrackedSession {
    const known = this.knownOf(session);
    if (known) return known;
    const tracker = this.sessions.born(session.id);
    this.track(session, tracker);
    return tracker;
  }

  async #get(sid: string): Promise<SessionData | undefined> {
    const tracker = await this.sessions.load(sid);
    const fields = tracker && (this.sessions.read(tracker) as SessionData | undefined);
    return fields && this.track(fields, tracker);
  }

  async #set(sid: string, session: SessionData): Promise<void> {
    const tracker = isSession(session) ? this.trackerOf(session) : this.knownOf(session);
    // Asked by an id that it had before, it goes on under the one that it has.
    if (!tracker || ![tracker.id, tracker.askedAs].includes(sid)) return this.sessions.overwrite(sid, session);
    const outcome = await this.sessions.commit(tracker, session);
    // express-session with `resave` sets what has not changed: that is a use.
    if (outcome === "unchanged") await this.#touch(sid, session);
  }

  async #touch(sid: string, session: SessionData): Promise<void> {
    const tracker = this.knownOf(session) ?? (await this.sessions.load(sid));
    if (tracker) await this.sessions.touch(tracker);
  }
}

/**
 * Makes `touch` leave `originalMaxAge` alone. express-session's Cookie asks for the time twice when `maxAge` is set, so a
 * touch across the turn of a millisecond would shorten it by one, for good, and make a session that has not changed look
 * as if it had.
 */
function keepMaxAge<T extends Session>(session: T): T {
  const reset = session.resetMaxAge.bind(session);
  const value = () => {
    const { originalMaxAge } = session.cookie;
    reset();
    session.cookie.originalMaxAge = originalMaxAge;
    return session;
  };
  return Object.defineProperty(session, "resetMaxAge", { value, configurable: true, writable: true });
}

/** By its method, not its class: the app's express-session may be another copy than ours. */
function isSession(session: object): session is Session {
  return typeof (session as Partial<Session>).regenerate === "function";
}

/**
 * A promise's outcome for a callback, once, where an exception it throws can't be taken for a failure of the work. Who gives
 * none may ask the promise, or nothing: express-session's `destroy()` does not look at it.
 */
export function deliver<T>(work: Promise<T>, callback: StoreCallback<T> | undefined): Promise<T> {
  const heard = work.then(
    (value) => {
      if (callback) process.nextTick(callback, null, value);
      return value;
    },
    (error: unknown) => {
      if (callback) process.nextTick(callback, error);
      return undefined as T;
    },
  );
  return callback ? heard : work;
}
