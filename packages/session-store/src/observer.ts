import { reserved } from "./codec.ts";
import { type OverwrittenPaths, overwrittenPaths } from "./losses.ts";

/** A save made changes disappear that others had stored since its request loaded the session. */
export interface OverwrittenLoss extends OverwrittenPaths {
  /** Tells it from other losses. */
  readonly type: "overwritten";
}

/** A save brought a session back that had been destroyed, or had expired, since its request loaded it. */
export interface RevivedLoss {
  /** Tells it from other losses. */
  readonly type: "revived";
}

/** Something that a store was seen to lose. It names keys of the session, never values, never ids. */
export type SessionLoss = OverwrittenLoss | RevivedLoss;

/** What was seen at one store since it is observed. */
export interface ObservedCounts {
  /** Saves, whether or not they were compared. */
  readonly saves: number;
  /** Saves that were compared, to the end. */
  readonly compared: number;
  /** Saves that should have been compared and were not: they failed, the store did not answer, or too many came at once. */
  readonly missed: number;
  /** Saves that overwrote something. */
  readonly overwritten: number;
  /** The values that they set back without having changed them. */
  readonly setBack: number;
  /** The values that they had changed as well, so that the later change replaced the earlier. */
  readonly replaced: number;
  /** Saves that brought a session back. */
  readonly revived: number;
}

/** A function as it is called from anywhere: a store's method, or a callback. */
export type Method = (...args: unknown[]) => unknown;

/** What a request knows of a session: what it loaded, or has itself saved since. */
interface Base {
  readonly id: unknown;
  readonly text: string;
}

/** Comparisons under way at once; beyond it saves are not compared. It bounds the memory that the texts take. */
const maxUnderWay = 100;

/** Larger sessions are not compared. In characters of their JSON. */
const maxTextLength = 262_144;

/** How long each answer that a comparison needs is waited for. */
const deadlineMs = 5_000;

/** Compares saves. Whatever goes wrong with that is counted, and goes no further. */
export class Observer {
  readonly #get: Method;
  readonly #sample: number;
  readonly #report: ((loss: SessionLoss) => void) | undefined;
  readonly #counts = { saves: 0, compared: 0, missed: 0, overwritten: 0, setBack: 0, replaced: 0, revived: 0 };
  // Keyed by the object that `get` gave, or by the Session made from it; nothing is added to the user's data.
  readonly #bases = new WeakMap<object, Base>();
  #underWay = 0;

  constructor(get: Method, sample: number, report: ((loss: SessionLoss) => void) | undefined) {
    this.#get = get;
    this.#sample = sample;
    this.#report = report;
  }

  counts(): ObservedCounts {
    return { ...this.#counts };
  }

  load(get: Method, self: unknown, args: unknown[]): unknown {
    const [id, callback] = args;
    if (!isMethod(callback) || Math.random() >= this.#sample) return Reflect.apply(get, self, args);
    const heard = tap(callback, ([, session]) => {
      const text = attempt(() => textOf(session));
      if (text !== undefined) this.#bases.set(session as object, { id, text });
    });
    return Reflect.apply(get, self, args.with(1, heard));
  }

  createSession(createSession: Method, self: unknown, args: unknown[]): unknown {
    const session = Reflect.apply(createSession, self, args);
    const base = this.#bases.get(args[1] as object);
    if (base && typeof session === "object" && session !== null) this.#bases.set(session, base);
    return session;
  }

  save(set: Method, self: unknown, args: unknown[]): unknown {
    this.#counts.saves += 1;
    const [id, session, callback] = args;
    const base = this.#bases.get(session as object);
    // Until this save has ended well nobody knows what is stored: another save of the same object is not compared.
    this.#bases.delete(session as object);
    if (!base || base.id !== id || !isMethod(callback)) return Reflect.apply(set, self, args);
    const mine = this.#underWay < maxUnderWay ? attempt(() => textOf(session)) : undefined;
    if (mine === undefined) {
      this.#counts.missed += 1;
      return Reflect.apply(set, self, args);
    }
    const read = () => readText(this.#get, self, id);
    let heard = callback;
    const saved = new Promise<void>((resolve, reject) => {
      heard = tap(callback, ([error]) => {
        if (error) reject(new Error("The save failed.", { cause: error }));
        else resolve();
      });
    });
    // Sent just before the save and not waited for: a store that works in order answers what the save overwrites. What
    // comes in between the two is not seen, so nothing else is done there.
    const before = read();
    try {
      return Reflect.apply(set, self, args.with(2, heard));
    } finally {
      void this.#compare({ session: session as object, base, mine, before, saved, read });
    }
  }

  async #compare({ session, base, mine, before, saved, read }: Save): Promise<void> {
    this.#underWay += 1;
    try {
      const [theirs] = await inTime(Promise.all([before, saved]));
      let after: string | undefined = mine;
      // Mostly nobody else has changed it: then the store holds what was saved, and need not be asked.
      if (theirs !== base.text && theirs !== mine) {
        after = await inTime(read());
        if (after !== undefined) this.#judge({ base: base.text, mine, theirs, after });
      }
      this.#counts.compared += 1;
      if (after !== undefined) this.#bases.set(session, { id: base.id, text: after });
    } catch {
      this.#counts.missed += 1;
    } finally {
      this.#underWay -= 1;
    }
  }

  #judge({
    base,
    mine,
    theirs,
    after,
  }: {
    base: string;
    mine: string;
    theirs: string | undefined;
    after: string;
  }): void {
    if (theirs === undefined) {
      this.#counts.revived += 1;
      this.#tell({ type: "revived" });
      return;
    }
    const states = { base: parse(base), mine: parse(mine), theirs: parse(theirs), after: parse(after) };
    const paths = overwrittenPaths(states);
    if (paths.setBack.length + paths.replaced.length === 0) return;
    this.#counts.overwritten += 1;
    this.#counts.setBack += paths.setBack.length;
    this.#counts.replaced += paths.replaced.length;
    this.#tell({ type: "overwritten", ...paths });
  }

  #tell(loss: SessionLoss): void {
    Promise.resolve(loss)
      .then(this.#report)
      .catch((error: unknown) => {
        process.emitWarning(`report threw at "${loss.type}": ${String(error)}`, "LockstepWarning");
      });
  }
}

/** One save, while it is compared. */
interface Save {
  readonly session: object;
  readonly base: Base;
  /** What it saves. */
  readonly mine: string;
  /** What was stored before it. */
  readonly before: Promise<string | undefined>;
  /** Resolves once it has succeeded. */
  readonly saved: Promise<void>;
  /** Asks the store what it holds now. */
  readonly read: () => Promise<string | undefined>;
}

/** What a store holds under an id; `undefined`: nothing. It never throws. */
function readText(get: Method, store: unknown, id: unknown): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown) => {
      reject(new Error("The store could not be read.", { cause }));
    };
    const answered = (error: { code?: unknown } | null | undefined, session: unknown) => {
      try {
        // As express-session takes it: an error of this code says that there is none.
        if (error && error.code !== "ENOENT") failed(error);
        else resolve(error ? undefined : textOf(session));
      } catch (cause) {
        failed(cause);
      }
    };
    // A store may give a promise beside calling back; nobody else would hear of its rejection.
    Promise.resolve(Reflect.apply(get, store, [id, answered])).catch(failed);
  });
}

/**
 * A session's own fields as JSON, at this moment; `undefined` for what is no session. Without `cookie`, which
 * express-session itself changes with every request, and without what Lockstep adds, which connect-redis beside it sees.
 *
 * @throws RangeError if it is too large to keep, TypeError if it can't be written
 */
function textOf(session: unknown): string | undefined {
  if (typeof session !== "object" || session === null) return undefined;
  const { cookie: _cookie, [reserved]: _ours, ...fields } = session as Record<string, unknown>;
  const text = JSON.stringify(fields);
  if (text.length > maxTextLength) throw new RangeError("The session is too large to be compared.");
  return text;
}

function parse(text: string): Record<string, unknown> {
  return JSON.parse(text) as Record<string, unknown>;
}

/** The same callback to whoever calls it, except that `listen` is told of the arguments first. */
function tap(callback: Method, listen: (args: unknown[]) => void): Method {
  return new Proxy(callback, {
    apply(target, self, args: unknown[]) {
      listen(args);
      return Reflect.apply(target, self, args);
    },
  });
}

function inTime<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("The store did not answer in time.")), deadlineMs);
    timer.unref();
    void work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

export function isMethod(value: unknown): value is Method {
  return typeof value === "function";
}
