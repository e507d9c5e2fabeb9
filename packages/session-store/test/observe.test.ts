import { RedisStore as ConnectRedis } from "connect-redis";
import express, { type Request } from "express";
import expressSession, { MemoryStore, type Session, type SessionData, Store } from "express-session";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RedisStore, type SessionLoss, observe, observedCounts } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

type Fields = Record<string, unknown>;

const client = testClient();
const noLoss = { overwritten: 0, setBack: 0, replaced: 0, revived: 0 };

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A request's session, loaded as express-session does it. */
function load(store: Store, id = "a"): Promise<Session> {
  return new Promise((resolve, reject) => {
    store.get(id, (error: unknown, data) => {
      const request = { sessionID: id, sessionStore: store } as unknown as Request;
      if (data) resolve(store.createSession(request, data));
      else reject(new Error("There is no such session.", { cause: error }));
    });
  });
}

function save(session: Session, changes: object = {}): Promise<void> {
  Object.assign(session, changes);
  return new Promise((resolve, reject) => {
    session.save((error?: Error | null) => (error ? reject(error) : resolve()));
  });
}

function data(fields: object = {}): SessionData {
  return { cookie: { originalMaxAge: null, httpOnly: true, path: "/" }, ...fields } as unknown as SessionData;
}

function create(store: Store, fields: object = {}, id = "a"): Promise<void> {
  return new Promise((resolve, reject) => {
    store.set(id, data(fields), (error?: Error | null) => (error ? reject(error) : resolve()));
  });
}

function destroy(store: Store, id = "a"): Promise<void> {
  return new Promise((resolve) => {
    store.destroy(id, () => resolve());
  });
}

/** An observed store, with what it reports. */
function watched<S extends Store>(store: S, sample?: number) {
  const losses: SessionLoss[] = [];
  observe(store, { report: (loss) => void losses.push(loss), sample });
  /** Its counts, once so many saves were compared, or given up. */
  const countsAfter = async (comparisons: number) => {
    await vi.waitFor(() => {
      const { compared, missed } = observedCounts(store);
      expect(compared + missed).toBe(comparisons);
    });
    return observedCounts(store);
  };
  return { store, losses, countsAfter };
}

const stores = {
  MemoryStore: () => new MemoryStore(),
  "connect-redis": () => new ConnectRedis({ client, prefix: uniquePrefix() }),
  "RedisStore, ids plain": () => new RedisStore({ client, prefix: uniquePrefix(), ids: "plain" }),
  "RedisStore, ids hashed": () => new RedisStore({ client, prefix: uniquePrefix() }),
};

describe.each(["MemoryStore", "connect-redis"] as const)("what is seen at %s", (name) => {
  it("a save that sets back what another request has changed", async () => {
    const { store, losses, countsAfter } = watched(stores[name]());
    await create(store, { cart: { items: 0, gift: false }, theme: "light" });
    const [mine, theirs] = [await load(store), await load(store)];
    await save(theirs, { cart: { items: 1, gift: true }, locale: "de" });
    await save(mine, { theme: "dark" });
    expect(await countsAfter(2)).toEqual({
      ...{ saves: 3, compared: 2, missed: 0 },
      ...{ overwritten: 1, setBack: 3, replaced: 0, revived: 0 },
    });
    expect(losses).toEqual([{ type: "overwritten", setBack: ["/cart/items", "/cart/gift", "/locale"], replaced: [] }]);
  });

  it("a save that replaces a list to which another has been adding", async () => {
    const { store, losses, countsAfter } = watched(stores[name]());
    await create(store, { cart: ["book"] });
    const [mine, theirs] = [await load(store), await load(store)];
    await save(theirs, { cart: ["book", "pen"] });
    await save(mine, { cart: ["book", "lamp"] });
    expect(await countsAfter(2)).toMatchObject({ overwritten: 1, setBack: 0, replaced: 1, revived: 0 });
    expect(losses).toEqual([{ type: "overwritten", setBack: [], replaced: ["/cart"] }]);
  });

  it("a save that brings a destroyed session back", async () => {
    const { store, losses, countsAfter } = watched(stores[name]());
    await create(store, { user: "alice" });
    const late = await load(store);
    await destroy(store);
    await save(late, { draft: "text" });
    expect(await countsAfter(1)).toMatchObject({ compared: 1, ...noLoss, revived: 1 });
    expect(losses).toEqual([{ type: "revived" }]);
  });
});

describe.each(["RedisStore, ids plain", "RedisStore, ids hashed"] as const)("what is seen at %s", (name) => {
  it("nothing, where it merges and where it refuses", async () => {
    const { store, losses, countsAfter } = watched(stores[name]());
    await create(store, { cart: ["book"] });
    const [mine, theirs, late] = [await load(store), await load(store), await load(store)];
    await save(theirs, { cart: ["book", "pen"], locale: "de" });
    await save(mine, { cart: ["book", "lamp"], theme: "dark" });
    await destroy(store);
    await save(late, { theme: "light" });
    expect(await countsAfter(3)).toMatchObject({ compared: 3, ...noLoss });
    expect(losses).toEqual([]);
  });

  it("a value that two requests changed, where the later wins by rule", async () => {
    const { store, countsAfter } = watched(stores[name]());
    await create(store, { theme: "light" });
    const [mine, theirs] = [await load(store), await load(store)];
    await save(theirs, { theme: "dark" });
    await save(mine, { theme: "sepia" });
    expect(await countsAfter(2)).toMatchObject({ overwritten: 1, setBack: 0, replaced: 1 });
  });
});

it("connect-redis beside Lockstep on the same sessions: only the app's own values are seen", async () => {
  const prefix = uniquePrefix();
  const lockstep = new RedisStore({ client, prefix, ids: "plain" });
  const { store, losses, countsAfter } = watched(new ConnectRedis({ client, prefix }));
  await create(lockstep, { cart: 1 });
  const mine = await load(store);
  await save(await load(lockstep), { cart: 2 });
  await save(mine, { theme: "dark" });
  await countsAfter(1);
  expect(losses).toEqual([{ type: "overwritten", setBack: ["/cart"], replaced: [] }]);
});

describe.each(Object.keys(stores) as (keyof typeof stores)[])("nothing is reported of %s", (name) => {
  it("where requests follow one another, or agree", async () => {
    const { store, losses, countsAfter } = watched(stores[name]());
    await create(store, { count: 1 });
    await save(await load(store), { count: 2 });
    const [mine, theirs] = [await load(store), await load(store)];
    // As with each request, the cookie's expiry moves.
    theirs.cookie.maxAge = 50_000;
    await save(theirs, { count: 3 });
    mine.cookie.maxAge = 60_000;
    await save(mine, { count: 3 });
    expect(await countsAfter(3)).toMatchObject({ saves: 4, compared: 3, ...noLoss });
    expect(losses).toEqual([]);
  });

  it("where a request saves again what it has saved itself", async () => {
    const { store, countsAfter } = watched(stores[name]());
    await create(store, { count: 1 });
    const session = await load(store);
    await save(session, { count: 2 });
    await countsAfter(1);
    await save(session, { count: 3 });
    expect(await countsAfter(2)).toMatchObject({ compared: 2, ...noLoss });
    await Promise.all([save(session, { count: 4 }), save(session, { count: 5 })]);
    expect(await countsAfter(3)).toMatchObject({ saves: 5, compared: 3, ...noLoss });
  });
});

type GetArguments = Parameters<SmallStore["get"]>;

/** Only what express-session requires of a store, with state that only its own `this` reaches. */
class SmallStore extends Store {
  readonly #texts = new Map<string, string>();
  gets = 0;

  get(id: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    this.gets += 1;
    const text = this.#texts.get(id);
    setImmediate(callback, null, text === undefined ? null : (JSON.parse(text) as SessionData));
  }

  set(id: string, session: SessionData, callback?: (error?: unknown) => void): unknown {
    this.#texts.set(id, JSON.stringify(session));
    if (callback) setImmediate(callback);
    return "returned by set";
  }

  destroy(id: string, callback?: (error?: unknown) => void): void {
    this.#texts.delete(id);
    if (callback) setImmediate(callback);
  }
}

/** A store of which two requests have loaded the same session: what the second saves shall be compared. */
async function twoRequests<S extends SmallStore>(store: S) {
  const seen = watched(store);
  await create(store, { a: 1 });
  const [mine, theirs] = [await load(store), await load(store)];
  await save(theirs, { b: 1 });
  await seen.countsAfter(1);
  return { ...seen, mine };
}

describe("an observed store", () => {
  it("is the same object, with the same methods and no others", () => {
    const store = new SmallStore();
    const keys = Object.keys(store);
    expect(observe(store)).toBe(store);
    expect(store).toBeInstanceOf(SmallStore);
    expect(Object.keys(store)).toEqual(keys);
    const shape = (method: "get" | "set") => [store[method].name, store[method].length];
    expect([shape("get"), shape("set")]).toEqual([
      ["get", 2],
      ["set", 3],
    ]);
    expect(["touch", "all", "length", "clear"].filter((method) => method in store)).toEqual([]);
  });

  it("passes on arguments, callbacks' arguments and `this`, and return values", async () => {
    const calls: unknown[] = [];
    class OddStore extends SmallStore {
      override set(...args: unknown[]): unknown {
        calls.push({ isStore: this === store, args: args.map((arg) => typeof arg) });
        Reflect.apply(args[2] as () => void, "this", [null, 1, 2]);
        return "returned";
      }
    }
    const store = new OddStore();
    observe(store);
    await SmallStore.prototype.set.call(store, "a", data());
    const session = await load(store);
    const returned = (store as { set: (...args: unknown[]) => unknown }).set(
      "a",
      session,
      function (this: unknown, ...args: unknown[]) {
        calls.push({ isGiven: Object(this) instanceof String, args });
      },
      4,
    );
    expect(returned).toBe("returned");
    expect(calls).toEqual([
      { isStore: true, args: ["string", "object", "function", "number"] },
      { isGiven: true, args: [null, 1, 2] },
    ]);
  });

  it("keeps its events, and what express-session assigns to it", () => {
    const store = observe(new SmallStore());
    expressSession({ store, secret: "s", resave: false, saveUninitialized: false });
    expect(store).toHaveProperty("generate", expect.any(Function));
    expect(store.listenerCount("disconnect")).toBe(1);
  });

  it("gives its own promises to whoever calls without a callback, and nothing is asked of it", async () => {
    const rejected = Promise.reject(new Error("of the store"));
    rejected.catch(() => undefined);
    class PromiseStore extends SmallStore {
      override get = (): Promise<never> => rejected;
      override set = (): Promise<never> => rejected;
    }
    const store = observe(new PromiseStore());
    expect((store.get as () => unknown)()).toBe(rejected);
    expect((store.set as (...args: unknown[]) => unknown)("a", data())).toBe(rejected);
    await expect(rejected).rejects.toThrow("of the store");
    expect(observedCounts(store)).toMatchObject({ saves: 1, compared: 0, missed: 0 });
  });

  it("serves stock express-session, touch and reload and regenerate included", async () => {
    const store = observe(new MemoryStore());
    const app = express();
    app.use(
      expressSession({ store, secret: "s", resave: false, saveUninitialized: false, cookie: { maxAge: 60_000 } }),
    );
    const tell = (req: Request) => ({ id: req.sessionID, ...(req.session as unknown as Fields), cookie: undefined });
    app.get(
      "/set",
      (req, res) => void res.json(tell(Object.assign(req, { session: Object.assign(req.session, req.query) }))),
    );
    app.get("/", (req, res) => void res.json(tell(req)));
    app.get("/reload", (req, res, next) => {
      Object.assign(req.session, { forgotten: true });
      req.session.reload((error: unknown) => (error ? next(error) : res.json(tell(req))));
    });
    app.get("/regenerate", (req, res, next) => {
      req.session.regenerate((error: unknown) => (error ? next(error) : res.json(tell(req))));
    });
    const browser = new Browser(await serve(app));
    const { id } = (await browser.json("/set?a=1")) as { id: string };
    expect(await browser.json("/")).toEqual({ id, a: "1" });
    expect(await browser.json("/reload")).toEqual({ id, a: "1" });
    expect(await browser.json("/regenerate")).not.toHaveProperty("a");
    expect((await browser.json("/")) as object).not.toHaveProperty("id", id);
  });

  it("is asked once more for each compared save, and twice more where another had changed the session", async () => {
    const { store, mine, countsAfter } = await twoRequests(new SmallStore());
    expect(store.gets).toBe(3);
    await save(mine, { c: 1 });
    expect(await countsAfter(2)).toMatchObject({ setBack: 1 });
    expect(store.gets).toBe(5);
  });

  it("is asked for the sampled share only", async () => {
    const { store, countsAfter } = watched(new SmallStore(), 0.25);
    const random = vi.spyOn(Math, "random").mockReturnValue(0.25);
    await create(store);
    await save(await load(store), { a: 1 });
    random.mockReturnValue(0.24);
    await save(await load(store), { a: 2 });
    expect(await countsAfter(1)).toMatchObject({ saves: 3, compared: 1 });
    expect(store.gets).toBe(3);
  });

  it("a loss names no value and no id", async () => {
    const { store, losses, countsAfter } = watched(new SmallStore());
    await create(store, { token: "secret-1", list: ["secret-2"] }, "the-id");
    const [mine, theirs] = [await load(store, "the-id"), await load(store, "the-id")];
    await save(theirs, { token: "secret-3", list: [] });
    await save(mine, { token: "secret-4" });
    await countsAfter(2);
    expect(losses).toEqual([{ type: "overwritten", setBack: ["/list"], replaced: ["/token"] }]);
  });
});

describe("a request notices nothing", () => {
  /** A store whose reads go wrong once the sessions are loaded. */
  class FailingReads extends SmallStore {
    read: ((...args: GetArguments) => unknown) | undefined;

    override get(...args: GetArguments): unknown {
      if (this.read) return this.read(...args);
      super.get(...args);
      return undefined;
    }
  }

  const failures: Record<string, (...args: GetArguments) => unknown> = {
    throws: () => {
      throw new Error("of the store");
    },
    "calls back with an error": (_id, callback) => {
      callback(new Error("of the store"));
    },
    "rejects its promise": () => Promise.reject(new Error("of the store")),
    "gives what can't be written as JSON": (_id, callback) => {
      callback(null, { ...data(), big: 1n } as SessionData);
    },
    "gives what is no session": (_id, callback) => {
      callback(null, { toJSON: () => undefined } as unknown as SessionData);
    },
  };

  it.each(Object.keys(failures))("where the store's get %s", async (name) => {
    const { store, mine, countsAfter, losses } = await twoRequests(new FailingReads());
    store.read = failures[name];
    await save(mine, { c: 1 });
    expect(await countsAfter(2)).toMatchObject({ compared: 1, missed: 1, ...noLoss });
    expect(losses).toEqual([]);
  });

  it("where the store's get never answers: the comparison is given up after 5 seconds", async () => {
    const { store, mine } = await twoRequests(new FailingReads());
    store.read = () => undefined;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await save(mine, { c: 1 });
    expect(observedCounts(store).missed).toBe(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(observedCounts(store)).toMatchObject({ compared: 1, missed: 1 });
  });

  it("where the store's get answers twice", async () => {
    const { store, mine, countsAfter } = await twoRequests(new FailingReads());
    store.read = (id, callback) => {
      SmallStore.prototype.get.call(store, id, (...answer) => {
        callback(...answer);
        callback(new Error("a second answer"));
      });
    };
    await save(mine, { c: 1 });
    expect(await countsAfter(2)).toMatchObject({ compared: 2, setBack: 1 });
  });

  it("where many saves wait for a store that does not answer: the hundred and first is not compared", async () => {
    const store = new FailingReads();
    observe(store);
    await create(store);
    const sessions = await Promise.all(Array.from({ length: 101 }, () => load(store)));
    store.read = vi.fn();
    await Promise.all(sessions.map((session, index) => save(session, { index })));
    expect(store.read).toHaveBeenCalledTimes(100);
    expect(observedCounts(store)).toMatchObject({ saves: 102, compared: 0, missed: 1 });
  });

  it("where the session is too large to keep, or can't be written: the store decides", async () => {
    const { store, mine, countsAfter } = await twoRequests(new SmallStore());
    await save(mine, { large: "x".repeat(300_000) });
    expect(await countsAfter(2)).toMatchObject({ missed: 1, ...noLoss });
    const loaded = await load(store);
    expect(() => loaded.save()).not.toThrow();
    Object.assign(loaded, { big: 1n });
    expect(() => loaded.save()).toThrow("BigInt");
  });

  it("where the store's set throws, fails or answers twice: it is told what the store says", async () => {
    const failure = new Error("of the store");
    class FailingSet extends SmallStore {
      write: SmallStore["set"] | undefined;

      override set(...args: Parameters<SmallStore["set"]>): unknown {
        return this.write ? this.write(...args) : super.set(...args);
      }
    }
    const { store, mine, countsAfter } = await twoRequests(new FailingSet());
    store.write = (_id, _session, callback) => {
      callback?.(failure);
      callback?.();
    };
    const answers: unknown[] = [];
    mine.save((error: unknown) => answers.push(error));
    expect(answers).toEqual([failure, undefined]);
    expect(await countsAfter(2)).toMatchObject({ missed: 1, ...noLoss });
    store.write = () => {
      throw failure;
    };
    const again = await load(store);
    expect(() => again.save()).toThrow(failure);
  });

  it("where its own callback throws: the store is told, as it was before", async () => {
    const { store, mine } = await twoRequests(new SmallStore());
    const thrown: unknown[] = [];
    vi.spyOn(globalThis, "setImmediate").mockImplementation(((callback: () => void) => {
      try {
        callback();
      } catch (error) {
        thrown.push(error);
      }
    }) as typeof setImmediate);
    const error = new Error("of the handler");
    mine.save(() => {
      throw error;
    });
    store.get("a", () => {
      throw error;
    });
    expect(thrown).toEqual([error, error]);
  });

  const reporters: Record<string, () => void> = {
    throws: () => {
      throw new Error("of the reporter");
    },
    rejects: () => Promise.reject(new Error("of the reporter")) as unknown as undefined,
  };

  it.each(Object.keys(reporters))("where report %s: a warning tells", async (name) => {
    const report = reporters[name];
    const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
    const store = observe(new SmallStore(), { report });
    await create(store);
    const late = await load(store);
    await destroy(store);
    await save(late, { a: 1 });
    expect(await warning).toMatchObject({
      name: "LockstepWarning",
      message: expect.stringContaining("of the reporter") as string,
    });
  });
});

describe("observe refuses", () => {
  it.each([-0.1, 1.1, NaN])("a sample of %s", (sample) => {
    expect(() => observe(new SmallStore(), { sample })).toThrow(new TypeError("sample must be a number from 0 to 1."));
  });

  it("what is no store, a store that it observes already, and counts of one that it does not", () => {
    const none: object = {};
    expect(() => observe(none as Store)).toThrow(TypeError);
    const store = observe(new SmallStore());
    expect(() => observe(store)).toThrow("observed already");
    expect(() => observedCounts(new SmallStore())).toThrow("not observed");
  });
});
