import type { SessionData } from "express-session";
import type { Serializer } from "./codec.ts";
import { EngineStore, type OnUnavailable, type StoreCallback, deliver, goesOnWithout } from "./engine-store.ts";
import type { SessionCounts } from "./events.ts";
import { type SessionsOptions, defaultScanCount } from "./options.ts";
import { Sessions } from "./sessions.ts";

/** Options of {@link RedisStore}: connect-redis' names, and those of the engine. */
export interface RedisStoreOptions extends Omit<SessionsOptions, "idleMs"> {
  /**
   * The idle limit in seconds of a session whose cookie has no `maxAge`; default 86,400 (a day). Given the session, a
   * function decides for every session.
   */
  readonly ttl?: number | ((session: SessionData) => number) | undefined;
  /** How sessions become text; default `JSON`. */
  readonly serializer?: Serializer | undefined;
  /** How many keys Redis looks at per step of {@link RedisStore.all} and its like; default 100. */
  readonly scanCount?: number | undefined;
  /** Sessions never expire in Redis; default `false`. They pile up unless something else removes them. */
  readonly disableTTL?: boolean | undefined;
  /** Uses are not recorded: a session ends its idle limit after its last change; default `false`. */
  readonly disableTouch?: boolean | undefined;
  /**
   * `"anonymous"`: the Store emits `disconnect` when its engine finds that Redis is away, and `connect` when it is back;
   * in between express-session lets requests go on without a session, their cookies untouched. Default `"reject"`: each
   * request with a session fails.
   */
  readonly onUnavailable?: OnUnavailable | undefined;
}

/**
 * A session store for stock express-session, in place of connect-redis: no lost updates (S1, S2), nothing revived (S3).
 *
 * What express-session itself decides stays as it is: it sends headers before the session is stored.
 */
export class RedisStore extends EngineStore {
  readonly #scanCount: number;
  readonly #disableTouch: boolean;

  /**
   * @param options see {@link RedisStoreOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: RedisStoreOptions) {
    const {
      ttl,
      scanCount = defaultScanCount,
      disableTTL = false,
      disableTouch = false,
      onUnavailable,
      ...engine
    } = options;
    super(new Sessions({ ...engine, idleMs: disableTTL ? () => Infinity : inMs(ttl) }));
    if (!Number.isInteger(scanCount) || scanCount < 1) throw new TypeError("scanCount must be a whole number above 0.");
    this.#scanCount = scanCount;
    this.#disableTouch = disableTouch;
    if (goesOnWithout(onUnavailable)) {
      this.sessions.onAvailability((isAvailable) => this.emit(isAvailable ? "connect" : "disconnect"));
    }
  }

  override touch(sid: string, session: SessionData, callback?: StoreCallback<void>): Promise<void> {
    return this.#disableTouch ? deliver(Promise.resolve(), callback) : super.touch(sid, session, callback);
  }

  /**
   * How often each event has happened since this store was made.
   *
   * @returns a copy
   */
  counts(): SessionCounts {
    return this.sessions.counts();
  }

  /**
   * All sessions, each with its `id`: with hashed ids that is the handle, which reads nothing.
   *
   * @param callback given the sessions; without it the promise tells
   */
  override all(callback?: StoreCallback<SessionData[]>): Promise<SessionData[]> {
    return deliver(this.#all(), callback);
  }

  /**
   * How many sessions there are: it walks all keys.
   *
   * @param callback given the number; without it the promise tells
   */
  override length(callback?: StoreCallback<number>): Promise<number> {
    return deliver(
      this.#names().then((names) => names.length),
      callback,
    );
  }

  /**
   * The ids of all sessions; with hashed ids their handles, which read nothing.
   *
   * @param callback given the ids; without it the promise tells
   */
  ids(callback?: StoreCallback<string[]>): Promise<string[]> {
    return deliver(this.#names(), callback);
  }

  /**
   * Ends all sessions under the prefix.
   *
   * @param callback told when done; without it the promise tells
   */
  override clear(callback?: StoreCallback<void>): Promise<void> {
    return deliver(this.sessions.clear(this.#scanCount), callback);
  }

  async #all(): Promise<SessionData[]> {
    // By name, since SCAN may give a key twice when the table grows or shrinks meanwhile.
    const sessions = new Map<string, SessionData>();
    for await (const batch of this.sessions.all(this.#scanCount)) {
      for (const { name, fields } of batch) sessions.set(name, { ...fields, id: name } as unknown as SessionData);
    }
    return [...sessions.values()];
  }

  async #names(): Promise<string[]> {
    const names = new Set<string>();
    for await (const batch of this.sessions.names(this.#scanCount)) for (const name of batch) names.add(name);
    return [...names];
  }
}

function inMs(ttl: RedisStoreOptions["ttl"]): SessionsOptions["idleMs"] {
  if (typeof ttl === "function") return (fields) => ttl(fields as unknown as SessionData) * 1_000;
  return ttl === undefined ? undefined : ttl * 1_000;
}
