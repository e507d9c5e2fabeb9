import { RedisStore as ConnectRedis } from "connect-redis";
import express, { type Express, type RequestHandler } from "express";
import expressSession, { type Session, type SessionData, type Store } from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { RedisStore, type RedisStoreOptions } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { itOnRedis, livingKeys, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

function stores(options: Partial<RedisStoreOptions> = {}) {
  const prefix = uniquePrefix();
  const make = () => new RedisStore({ client, prefix, ids: "plain", ...options });
  return { store: make(), other: make(), make, prefix, connectRedis: new ConnectRedis({ client, prefix }) };
}

function data(fields: object = {}, maxAge: number | null = 60_000): SessionData {
  const expires = maxAge === null ? null : new Date(Date.now() + maxAge).toISOString();
  return {
    cookie: { originalMaxAge: maxAge, expires, httpOnly: true, path: "/" },
    ...fields,
  } as unknown as SessionData;
}

/** Stock express-session on a store; each query parameter becomes a field of the session. */
async function stock(store: Store, more: (app: Express) => void = () => undefined) {
  const app = express();
  app.use(expressSession({ store, secret: "s", resave: false, saveUninitialized: false, cookie: { maxAge: 60_000 } }));
  const tell: RequestHandler = (req, res) => {
    const { cookie: _cookie, ...fields } = req.session as SessionData;
    res.json({ id: req.sessionID, ...fields });
  };
  more(app);
  app.get("/set", (req, _res, next) => {
    Object.assign(req.session, req.query);
    next();
  });
  app.get("/drop", (req, _res, next) => {
    Reflect.deleteProperty(req.session, req.query.key as string);
    next();
  });
  app.get("/destroy", (req, res, next) => {
    req.session.destroy((error: unknown) => {
      if (error) next(error);
      else res.json({});
    });
  });
  app.use(tell);
  return serve(app);
}

describe("RedisStore under stock express-session", () => {
  it("keeps a session over two servers", async () => {
    const { store, other } = stores();
    const [one, two] = [new Browser(await stock(store)), new Browser(await stock(other))];
    await one.get("/set?a=1");
    two.cookie = one.cookie;
    expect(await two.json("/set?b=2")).toMatchObject({ a: "1", b: "2" });
    expect(await one.json("/")).toMatchObject({ a: "1", b: "2" });
    await two.get("/destroy");
    expect(await one.json("/")).not.toHaveProperty("a");
  });

  it("S2: requests at the same moment lose nothing", async () => {
    const { store, other } = stores();
    const [one, two] = [new Browser(await stock(store)), new Browser(await stock(other))];
    await one.get("/set?start=1");
    two.cookie = one.cookie;
    await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? one : two).get(`/set?key${index}=1`)));
    expect(Object.keys((await one.json("/")) as object)).toHaveLength(22);
  });

  it("S3: a request in flight brings nothing back", async () => {
    const { store, prefix } = stores();
    const browser = new Browser(
      await stock(store, (app) =>
        app.get("/slow", (req, res) => {
          Object.assign(req.session, { late: true });
          void store.destroy(req.sessionID).then(() => res.send("x"));
        }),
      ),
    );
    await browser.get("/set?a=1");
    await browser.get("/slow");
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("a touch at the turn of a millisecond does not make a session look changed", async () => {
    const { store } = stores();
    await store.set("a", data({ x: 1 }));
    const session = await new Promise<Session>((resolve, reject) => {
      store.load("a", (error: unknown, loaded?: SessionData) => {
        if (loaded) resolve(loaded as unknown as Session);
        else reject(new Error("there is no such session", { cause: error }));
      });
    });
    let now = Date.now();
    // Each question finds the next millisecond.
    const clock = vi.spyOn(Date, "now").mockImplementation(() => (now += 1));
    onTestFinished(() => clock.mockRestore());
    session.touch();
    expect(session.cookie.originalMaxAge).toBe(60_000);
    expect(session.cookie.maxAge).toBeLessThanOrEqual(60_000);
  });

  it("works with resave and saveUninitialized, and an unchanged session is not rewritten", async () => {
    const { store, prefix } = stores();
    const app = express();
    app.use(expressSession({ store, secret: "s", resave: true, saveUninitialized: true }));
    app.get("/", (req, res) => void res.send(req.sessionID));
    const browser = new Browser(await serve(app));
    const id = (await browser.get("/")).text;
    const before = await client.get(`${prefix}${id}`);
    expect((await browser.get("/")).text).toBe(id);
    expect(await client.get(`${prefix}${id}`)).toBe(before);
  });
});

describe("the Store interface", () => {
  it("gives back what was set, by promise and by callback", async () => {
    const { store } = stores();
    await store.set("a", data({ x: [] }));
    expect(await store.get("a")).toMatchObject({ x: [] });
    const called = await new Promise(
      (resolve) =>
        void store.get("a", (...args) => {
          resolve(args);
        }),
    );
    expect(called).toMatchObject([null, { x: [] }]);
    expect(await store.get("none")).toBeUndefined();
  });

  it("lists, counts and clears, and only what is its own", async () => {
    const { store, prefix } = stores({ scanCount: 1 });
    await client.set(`${prefix.slice(0, -1)}*x`, "1", "EX", 60);
    await Promise.all(["a", "b", "c"].map((id) => store.set(id, data({ name: id }))));
    expect((await store.ids()).sort()).toEqual(["a", "b", "c"]);
    expect(await store.length()).toBe(3);
    expect((await store.all()).map((session) => session as unknown as { id: string; name: string })).toEqual(
      expect.arrayContaining([expect.objectContaining({ id: "a", name: "a" })]),
    );
    await store.clear();
    expect(await store.length()).toBe(0);
    expect(await client.exists(`${prefix.slice(0, -1)}*x`)).toBe(1);
  });

  itOnRedis("knows the prefix that ioredis adds", async () => {
    const added = uniquePrefix();
    const prefixing = client.duplicate({ keyPrefix: added });
    onTestFinished(() => prefixing.disconnect());
    const { store, prefix } = stores({ client: prefixing });
    await store.set("a", data({ x: 1 }));
    expect(await client.exists(`${added}${prefix}a`)).toBe(1);
    expect(await store.ids()).toEqual(["a"]);
    expect(await store.all()).toMatchObject([{ x: 1 }]);
    await store.clear();
    expect(await store.length()).toBe(0);
  });

  it("a prefix is taken literally", async () => {
    const { store } = stores({ prefix: `${uniquePrefix()}[a]*?:` });
    await store.set("a", data());
    expect(await store.ids()).toEqual(["a"]);
  });

  it("with hashed ids it lists handles, which read nothing", async () => {
    const { store } = stores({ ids: "hashed" });
    await store.set("secret", data());
    const [handle = ""] = await store.ids();
    expect(handle).toMatch(/^[\w-]{43}$/);
    expect(await store.get(handle)).toBeUndefined();
  });

  it("what came from get is compared and merged; a plain object overwrites", async () => {
    const { store, other } = stores();
    await store.set("a", data({ x: 1 }));
    const [one, two] = [await store.get("a"), await other.get("a")];
    await store.set("a", Object.assign(one as SessionData, { y: 2 }));
    await other.set("a", Object.assign(two as SessionData, { z: 3 }));
    expect(await store.get("a")).toMatchObject({ x: 1, y: 2, z: 3 });
    await store.destroy("a");
    await store.set("a", Object.assign(one as SessionData, { y: 4 }));
    expect(await store.get("a")).toBeUndefined();
    await store.set("a", data({ new: 1 }));
    expect(await store.get("a")).toMatchObject({ new: 1 });
  });

  it("ttl, disableTTL and disableTouch mean what they do in connect-redis", async () => {
    const life = async (options: Partial<RedisStoreOptions>, maxAge: number | null) => {
      const { store, prefix } = stores(options);
      await store.set("a", data({}, maxAge));
      const first = await client.pttl(`${prefix}a`);
      await client.pexpire(`${prefix}a`, 1_000);
      await store.touch("a", data({}, maxAge));
      return [first, await client.pttl(`${prefix}a`)].map((ms) => Math.round(ms / 1_000));
    };
    expect(await life({ ttl: 100 }, null)).toEqual([110, 110]);
    expect(await life({ ttl: 100 }, 10_000)).toEqual([11, 11]);
    expect(await life({ ttl: () => 50 }, 10_000)).toEqual([55, 55]);
    expect((await life({ disableTTL: true }, 10_000))[0]).toBeLessThanOrEqual(0);
    expect(await life({ disableTouch: true }, 10_000)).toEqual([11, 1]);
  });

  it("uses the serializer it is given", async () => {
    const serializer = {
      parse: (text: string) => JSON.parse(Buffer.from(text, "base64").toString()) as unknown,
      stringify: (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64"),
    };
    const { store, prefix } = stores({ serializer });
    await store.set("a", data({ x: 1 }));
    expect(await client.get(`${prefix}a`)).not.toContain("{");
    const session = await store.get("a");
    await store.set("a", Object.assign(session as SessionData, { y: 2 }));
    await store.touch("a", session as SessionData);
    expect(await store.get("a")).toMatchObject({ x: 1, y: 2 });
  });

  it("an exception in a callback is not taken for a failure of the store", async () => {
    const { store } = stores();
    const calls: unknown[] = [];
    const thrown = new Promise((resolve) => {
      const others = process.listeners("uncaughtException");
      process.removeAllListeners("uncaughtException");
      process.once("uncaughtException", (error) => {
        for (const other of others) process.on("uncaughtException", other);
        resolve(error);
      });
    });
    await store.set("a", data(), (error) => {
      calls.push(error);
      throw new Error("in the callback");
    });
    expect(await thrown).toMatchObject({ message: "in the callback" });
    expect(calls).toEqual([null]);
  });

  it("refuses a scanCount that is none", () => {
    expect(() => stores({ scanCount: 0 })).toThrow(TypeError);
  });
});

describe("beside connect-redis 8.1, with plain ids", () => {
  it("each reads what the other wrote", async () => {
    const { store, connectRedis } = stores();
    await connectRedis.set("a", data({ from: "connect-redis", list: [] }));
    const session = await store.get("a");
    expect(session).toMatchObject({ from: "connect-redis", list: [], cookie: { originalMaxAge: 60_000 } });
    await store.set("a", Object.assign(session as SessionData, { seen: true }));
    expect(await connectRedis.get("a")).toMatchObject({ from: "connect-redis", seen: true });
    expect(await connectRedis.ids()).toEqual(await store.ids());
  });

  it("a set of servers is moved from one to the other and back, and nobody is signed out", async () => {
    const { store, connectRedis } = stores();
    const [old, renewed] = [new Browser(await stock(connectRedis)), new Browser(await stock(store))];
    await old.get("/set?a=1");
    renewed.cookie = old.cookie;
    await renewed.get("/set?b=2");
    expect(await old.json("/set?c=3")).toMatchObject({ a: "1", b: "2" });
    expect(await renewed.json("/")).toMatchObject({ a: "1", b: "2", c: "3" });
  });
});

describe("what connect-redis 6.1.0 broke by merging", () => {
  it("a deleted key does not come back", async () => {
    const { store, other } = stores();
    const [one, two] = [new Browser(await stock(store)), new Browser(await stock(other))];
    await one.get("/set?token=x&kept=1");
    two.cookie = one.cookie;
    await Promise.all([one.get("/drop?key=token"), two.get("/set?b=2")]);
    expect(await one.json("/")).toEqual({ id: expect.any(String) as string, kept: "1", b: "2" });
  });

  it("the cookie's expiry stays a date", async () => {
    const { store, other } = stores();
    const [one, two] = [new Browser(await stock(store)), new Browser(await stock(other))];
    await one.get("/set?a=1");
    two.cookie = one.cookie;
    await Promise.all([one.get("/set?b=1"), two.get("/set?c=1"), one.get("/set?d=1"), two.get("/set?e=1")]);
    const [session] = await store.all();
    const cookie = session?.cookie as unknown as { expires: string; originalMaxAge: number };
    expect(new Date(cookie.expires).getTime()).toBeGreaterThan(Date.now());
    // express-session asks for the time twice when it makes a cookie, and may come out a millisecond short.
    expect([59_999, 60_000]).toContain(cookie.originalMaxAge);
  });

  it("who has read before another has written does not undo it: get and set are no race", async () => {
    const { make, prefix } = stores();
    await make().set("a", data({ cart: [], theme: "light" }));
    const servers = Array.from({ length: 20 }, () => make());
    const loaded = await Promise.all(servers.map((server) => server.get("a")));
    const saves = servers.map(async (server, at) => {
      const session = loaded[at] as unknown as { cart: string[] };
      session.cart.push(`item ${at}`);
      await server.set("a", Object.assign(session, { [`key${at}`]: at }) as unknown as SessionData);
    });
    await Promise.all(saves);
    const stored = JSON.parse((await client.get(`${prefix}a`)) ?? "") as Record<string, unknown>;
    const { __lockstep: _ours, cookie: _cookie, cart, theme, ...keys } = stored;
    expect(keys).toEqual(Object.fromEntries(servers.map((_, at) => [`key${at}`, at])));
    expect(new Set(cart as string[])).toEqual(new Set(servers.map((_, at) => `item ${at}`)));
    expect({ theme, items: (cart as string[]).length }).toEqual({ theme: "light", items: 20 });
  });

  it("nothing of ours stands among the user's data", async () => {
    const { store } = stores();
    const browser = new Browser(await stock(store));
    await browser.get("/set?a=1");
    expect(Object.keys((await browser.json("/")) as object)).toEqual(["id", "a"]);
    expect(Object.keys((await store.all())[0] as object).sort()).toEqual(["a", "cookie", "id"]);
  });
});
