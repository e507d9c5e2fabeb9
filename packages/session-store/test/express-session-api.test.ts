import { randomBytes } from "node:crypto";
import { sign } from "cookie-signature";
import express, { type Request, type RequestHandler, type Response } from "express";
import expressSession, { type SessionOptions } from "express-session";
import { describe, expect, it } from "vitest";
import { RedisStore, session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

// What handlers written for express-session rely on. Each test runs on express-session itself too, so that it says of it
// what is so. (`npm run conformance` runs express-session's own suite, for which one needs a checkout of it.)

const client = testClient();

/** As express-session's, with what its types leave out. */
type Options = Omit<Partial<SessionOptions>, "cookie"> & { key?: string; cookie?: object };

const defaults = { secret: "a secret", resave: false, saveUninitialized: false };

const adapters: [string, (options: Options) => RequestHandler][] = [
  ["express-session with its MemoryStore", (options) => expressSession({ ...defaults, ...options })],
  [
    "express-session with RedisStore",
    (options) =>
      expressSession({
        ...defaults,
        store: new RedisStore({ client, prefix: uniquePrefix() }),
        ...options,
      }),
  ],
  ["session()", (options) => session({ client, prefix: uniquePrefix(), ...defaults, ...options })],
];

type Handler = (request: Request, response: Response) => void;

/** A session as a handler may use it: any field. */
const fieldsOf = (request: Request) => request.session as unknown as Record<string, unknown>;

const count: Handler = (request, response) => {
  const fields = fieldsOf(request);
  fields.count = Number(fields.count ?? 0) + 1;
  response.json(fields.count);
};

const tell: Handler = (request, response) => void response.json(fieldsOf(request));

/** Calls a handler's method of a session, and answers with its error or with what `answer` then makes. */
const after =
  (response: Response, answer: () => unknown): ((error?: unknown) => void) =>
  (error) =>
    void (error
      ? response.status(500).send(error instanceof Error ? error.message : "failed")
      : response.json(answer() ?? null));

describe.each(adapters)("%s", (_name, make) => {
  /** An app with one session middleware; `routes` by path, `before` in front of the middleware. */
  async function start(options: Options, routes: Record<string, Handler>, before: RequestHandler[] = []) {
    const app = express();
    for (const handler of before) app.use(handler);
    app.use(make(options));
    for (const [path, handler] of Object.entries(routes)) app.use(path, handler);
    const base = await serve(app);
    return { base, browser: new Browser(base) };
  }

  const cookieLine = async (options: Options, headers: Record<string, string> = {}, before: RequestHandler[] = []) =>
    (await (await start(options, { "/": count }, before)).browser.get("/", { headers })).cookies[0];

  describe("the cookie", () => {
    it("holds the id that genid makes for the request, signed with the secret", async () => {
      const value = (id: string, secret: string) => `connect.sid=${encodeURIComponent(`s:${sign(id, secret)}`)}`;
      const genid = (request: { url: string }) => `id of ${request.url} %`;
      expect(await cookieLine({ genid, secret: "s1" })).toBe(`${value("id of / %", "s1")}; Path=/; HttpOnly`);
      expect(await cookieLine({ genid, secret: ["s2", "s1"] })).toContain(value("id of / %", "s2"));
    });

    it("is named by name, or by key", async () => {
      expect(await cookieLine({})).toMatch(/^connect\.sid=/);
      expect(await cookieLine({ name: "by-name", key: "by-key" })).toMatch(/^by-name=/);
      expect(await cookieLine({ key: "by-key" })).toMatch(/^by-key=/);
    });

    it.each([
      [{}, "Path=/; HttpOnly"],
      [{ path: "/" }, "Path=/; HttpOnly"],
      [{ httpOnly: false }, "Path=/"],
      [{ domain: "example.org" }, "Domain=example.org; Path=/; HttpOnly"],
      [{ expires: new Date("2100-01-02T03:04:05Z") }, "Path=/; Expires=Sat, 02 Jan 2100 03:04:05 GMT; HttpOnly"],
      [{ partitioned: true }, "Path=/; HttpOnly; Partitioned"],
      [{ partitioned: false }, "Path=/; HttpOnly"],
      [{ priority: "low" }, "Path=/; HttpOnly; Priority=Low"],
      [{ priority: "high" }, "Path=/; HttpOnly; Priority=High"],
      [{ sameSite: true }, "Path=/; HttpOnly; SameSite=Strict"],
      [{ sameSite: false }, "Path=/; HttpOnly"],
      [{ sameSite: "lax" }, "Path=/; HttpOnly; SameSite=Lax"],
      [{ sameSite: "none" }, "Path=/; HttpOnly; SameSite=None"],
      [{ sameSite: "auto" }, "Path=/; HttpOnly; SameSite=Lax"],
      [{ secure: false }, "Path=/; HttpOnly"],
      [{ secure: "auto" }, "Path=/; HttpOnly"],
      [{ secure: "auto", sameSite: "auto" }, "Path=/; HttpOnly; SameSite=Lax"],
    ])("has the attributes %o", async (cookie, attributes) => {
      expect((await cookieLine({ cookie }))?.replace(/^[^;]*; /, "")).toBe(attributes);
      if (!Object.values(cookie).includes("auto")) {
        expect((await cookieLine({ cookie: () => cookie }))?.replace(/^[^;]*; /, "")).toBe(attributes);
      }
    });

    it.each([
      [{ secure: true }, "Path=/; HttpOnly; Secure"],
      [{ secure: "auto" }, "Path=/; HttpOnly; Secure"],
      [{ sameSite: "auto" }, "Path=/; HttpOnly; SameSite=None"],
      [{ secure: false, sameSite: "auto" }, "Path=/; HttpOnly; SameSite=None"],
      [{ secure: "auto", sameSite: "auto" }, "Path=/; HttpOnly; Secure; SameSite=None"],
    ])("has, behind a proxy that speaks TLS, the attributes %o", async (cookie, attributes) => {
      const line = await cookieLine({ cookie, proxy: true }, { "x-forwarded-proto": "https" });
      expect(line?.replace(/^[^;]*; /, "")).toBe(attributes);
    });

    it("expires after maxAge", async () => {
      const line = await cookieLine({ cookie: { maxAge: 60_000 } });
      const expires = Date.parse(/Expires=([^;]+)/.exec(line ?? "")?.[1] ?? "");
      expect(Math.abs(expires - Date.now() - 60_000)).toBeLessThan(3_000);
    });

    it("follows, as an option, the request, as it is where the middleware stands", async () => {
      const cookie = (request: Request) => ({ path: request.path, httpOnly: false });
      const genid = (request: { url: string }) => request.url;
      const { browser } = await start({ cookie, genid }, { "/a/b": count });
      expect((await browser.get("/a/b")).cookies[0]).toMatch(/^connect\.sid=s%3A%2Fa%2Fb\..+; Path=\/a\/b$/);
    });

    it("is sent by handlers' changes to it: flags, maxAge, expires", async () => {
      const change = (more: object) => async () => {
        const routes: Record<string, Handler> = {
          "/": (request, response) => {
            Object.assign(request.session.cookie, more);
            count(request, response);
          },
        };
        const { browser } = await start({ cookie: { maxAge: 60_000 } }, routes);
        const [born] = (await browser.get("/")).cookies;
        const [changed] = (await browser.get("/")).cookies;
        return [born, changed].map((line) => line?.replace(/^[^;]*; /, "").replace(/:\d\d GMT/, " GMT"));
      };
      const inSeconds = (ms: number) => new Date(Date.now() + ms).toUTCString().replace(/:\d\d GMT/, " GMT");
      expect(await change({ httpOnly: false, sameSite: "strict", expires: null })()).toEqual([
        "Path=/; SameSite=Strict",
        undefined,
      ]);
      const day = inSeconds(86_400_000);
      expect(await change({ maxAge: 86_400_000 })()).toEqual(Array(2).fill(`Path=/; Expires=${day}; HttpOnly`));
      const past = await change({ expires: new Date(0) })();
      expect(past[0]).toBe("Path=/; Expires=Thu, 01 Jan 1970 00:00 GMT; HttpOnly");
    });

    it("keeps its flags and its originalMaxAge from request to request, and after a reload", async () => {
      const flags: Handler = (request, response) => {
        const { originalMaxAge, httpOnly, path, sameSite, maxAge } = request.session.cookie;
        response.json({ originalMaxAge, httpOnly, path, sameSite, isCounting: typeof maxAge === "number" });
      };
      const { browser } = await start(
        { cookie: { maxAge: 60_000, httpOnly: false, sameSite: "lax" } },
        {
          "/flags": flags,
          "/reload": (request, response) => void request.session.reload(() => flags(request, response)),
          "/": count,
        },
      );
      await browser.get("/");
      const expected = { originalMaxAge: 60_000, httpOnly: false, path: "/", sameSite: "lax", isCounting: true };
      expect(await browser.json("/flags")).toEqual(expected);
      expect(await browser.json("/reload")).toEqual(expected);
    });

    it("is not sent for a path that it does not cover, nor is there a session", async () => {
      const has: Handler = (request, response) =>
        void response.json((request as { session?: unknown }).session !== undefined);
      const { browser } = await start({ cookie: { path: "/in" }, saveUninitialized: true }, { "/": has });
      for (const path of ["/", "/i", "/other/in"]) {
        expect(await browser.get(path)).toMatchObject({ text: "false", cookies: [] });
      }
      expect(await browser.get("/in")).toMatchObject({
        text: "true",
        cookies: [expect.stringContaining("Path=/in") as string],
      });
      expect((await browser.get("/in/deeper?and=more")).text).toBe("true");
    });

    it("covers the path that the browser sees, where the app is mounted elsewhere", async () => {
      const inner = express();
      inner.use(make({ cookie: { path: "/mounted" } }));
      inner.use(count);
      const app = express();
      app.use("/mounted", inner);
      app.use("/elsewhere", inner);
      const browser = new Browser(await serve(app));
      expect((await browser.get("/mounted/a")).cookies).toHaveLength(1);
      expect((await browser.get("/elsewhere")).status).toBe(500);
    });

    it("comes beside the handler's own, however that sets them", async () => {
      const { browser } = await start(
        {},
        {
          "/set": (request, response) => {
            response.setHeader("Set-Cookie", "own=1");
            count(request, response);
          },
          "/head": (request, response) => {
            fieldsOf(request).count = 1;
            response.writeHead(200, { "Set-Cookie": ["own=1", "two=2"] });
            response.end();
          },
        },
      );
      const names = async (path: string) => {
        browser.cookie = "";
        return (await browser.get(path)).cookies.map((line) => line.split("=", 1)[0]);
      };
      expect(await names("/set")).toEqual(["own", "connect.sid"]);
      expect((await names("/head")).sort()).toEqual(["connect.sid", "own", "two"]);
    });
  });

  describe("secret", () => {
    it("signs with the first of a list and verifies with each; it may be bytes", async () => {
      const bytes = await start({ secret: randomBytes(32) }, { "/": count });
      expect([await bytes.browser.json("/"), await bytes.browser.json("/")]).toEqual([1, 2]);
      const { browser } = await start({ secret: ["new", "old"], genid: (request) => request.url }, { "/": count });
      const signedBy = (secret: string) => `connect.sid=${encodeURIComponent(`s:${sign("/born", secret)}`)}`;
      await browser.get("/born");
      expect(browser.cookie).toBe(signedBy("new"));
      const counted = async (secret: string) => {
        browser.cookie = signedBy(secret);
        return browser.json("/other");
      };
      expect([await counted("new"), await counted("old"), await counted("neither")]).toEqual([2, 3, 1]);
    });

    it("is cookie-parser's where none is given, and without one requests fail", async () => {
      const none = await start({ secret: undefined as unknown as string }, { "/": count });
      expect((await none.browser.get("/")).status).toBe(500);
      const parser: RequestHandler = (request, _response, next) => {
        Object.assign(request, { secret: "of the parser" });
        next();
      };
      const { browser } = await start({ secret: undefined as unknown as string, genid: () => "x" }, { "/": count }, [
        parser,
      ]);
      const { cookies } = await browser.get("/");
      expect(cookies[0]).toContain(encodeURIComponent(sign("x", "of the parser")));
      expect(await browser.json("/")).toBe(2);
    });
  });

  it.each(["cookies", "signedCookies"])("reads %s, where something has taken the header away", async (property) => {
    const parser: RequestHandler = (request, _response, next) => {
      const value = /connect\.sid=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
      const signed = value && decodeURIComponent(value);
      const read = property === "cookies" ? signed : signed?.slice(2).replace(/\.[^.]*$/, "");
      Object.assign(request, { [property]: { "connect.sid": read } });
      delete request.headers.cookie;
      next();
    };
    const { browser } = await start({}, { "/": count }, [parser]);
    expect([await browser.json("/"), await browser.json("/")]).toEqual([1, 2]);
    browser.cookie = `connect.sid=${encodeURIComponent("s:forged.signature")}`;
    if (property === "cookies") expect(await browser.json("/")).toBe(1);
  });

  it.each([
    [true, "https", false, true],
    [true, "HTTPS , http", false, true],
    [true, "http, https", false, false],
    [true, undefined, true, false],
    [false, "https", true, false],
    [undefined, "https", true, true],
    [undefined, "https", false, false],
    [undefined, "http", true, false],
  ])(
    "proxy %s, forwarded for %s, Express trusting: %s, is TLS: %s",
    async (proxy, forwarded, isExpressTrusting, isSecure) => {
      const app = express();
      app.set("trust proxy", isExpressTrusting);
      app.use(make({ ...(proxy !== undefined && { proxy }), cookie: { secure: true } }));
      app.use(count);
      const browser = new Browser(await serve(app));
      const { cookies } = await browser.get("/", {
        headers: forwarded === undefined ? {} : { "x-forwarded-proto": forwarded },
      });
      expect(cookies).toHaveLength(isSecure ? 1 : 0);
    },
  );

  it("rolling sends the cookie with every response of a session that exists", async () => {
    const lines = async (options: Options) => {
      const { browser } = await start(options, { "/count": count, "/tell": tell });
      const seen = [];
      for (const path of ["/tell", "/count", "/tell", "/count"]) seen.push((await browser.get(path)).cookies.length);
      return seen;
    };
    expect(await lines({})).toEqual([0, 1, 0, 0]);
    expect(await lines({ rolling: true })).toEqual([0, 1, 1, 1]);
    expect(await lines({ rolling: true, saveUninitialized: true })).toEqual([1, 1, 1, 1]);
    expect(await lines({ cookie: { maxAge: 60_000 } })).toEqual([0, 1, 0, 1]);
  });

  it("saveUninitialized keeps a session that nobody put anything into", async () => {
    const id: Handler = (request, response) => void response.json(request.sessionID);
    const kept = await start({ saveUninitialized: true }, { "/": id });
    expect(await kept.browser.json("/")).toBe(await kept.browser.json("/"));
    const dropped = await start({ saveUninitialized: false }, { "/": id });
    expect(await dropped.browser.json("/")).not.toBe(await dropped.browser.json("/"));
  });

  it("resave changes nothing that a handler sees", async () => {
    const { browser } = await start({ resave: true }, { "/count": count, "/tell": tell });
    await browser.get("/count");
    expect(await browser.get("/tell")).toMatchObject({ status: 200, cookies: [] });
    expect(await browser.json("/count")).toBe(2);
  });

  it("unset decides what becomes of a session that a handler has taken off", async () => {
    const routes: Record<string, Handler> = {
      "/count": count,
      "/null": (request, response) => {
        Object.assign(request, { session: null });
        response.json("x");
      },
      "/delete": (request, response) => {
        Reflect.deleteProperty(request, "session");
        response.json("x");
      },
    };
    for (const path of ["/null", "/delete"]) {
      for (const [unset, counted] of [
        ["keep", 2],
        ["destroy", 1],
      ] as const) {
        const { browser } = await start({ unset }, routes);
        await browser.get("/count");
        const { cookie } = browser;
        await browser.get(path);
        browser.cookie = cookie;
        expect(await browser.json("/count")).toBe(counted);
      }
    }
  });

  it.each([
    [{ secret: [] }, /secret option array/],
    [{ genid: "x" }, /genid.*must/],
    [{ unset: "x" }, /unset.*must/],
  ])("the option %o is refused at once", (options, message) => {
    expect(() => make(options as unknown as Options)).toThrow(message);
  });

  describe("req.session", () => {
    it("shows its fields and its cookie, and nothing else", async () => {
      const { browser } = await start(
        {},
        {
          "/": (request, response) => {
            fieldsOf(request).mine = 1;
            const seen = [];
            for (const key in request.session) seen.push(key);
            response.json([seen.sort(), Object.keys(request.session).sort(), "id" in request.session]);
          },
        },
      );
      const fields = ["cookie", "mine"];
      expect(await browser.json("/")).toEqual([fields, fields, true]);
      expect(await browser.json("/")).toEqual([fields, fields, true]);
    });

    it("does not let stored fields replace its methods", async () => {
      const { browser } = await start(
        {},
        {
          "/spoil": (request, response) =>
            void request.sessionStore.get(request.sessionID, (_error, data) => {
              if (!data) throw new Error("no session");
              Object.assign(data, { save: "spoilt" });
              request.sessionStore.set(
                request.sessionID,
                data,
                after(response, () => null),
              );
            }),
          "/": count,
        },
      );
      await browser.get("/");
      await browser.get("/spoil");
      expect((await browser.get("/")).status).toBe(200);
    });

    it("counts a field called cookie inside another as a change", async () => {
      const { browser } = await start(
        {},
        {
          "/": (request, response) => {
            const user = (fieldsOf(request).user ??= { cookie: 0 }) as { cookie: number };
            user.cookie += 1;
            response.json(user.cookie);
          },
        },
      );
      expect([await browser.json("/"), await browser.json("/")]).toEqual([1, 2]);
    });

    it("regenerates: another id, nothing in it, and the old one is dead", async () => {
      const { browser } = await start(
        {},
        {
          "/count": count,
          "/renew": (request, response) => {
            const old = request.session;
            const returned: unknown = old.regenerate(
              after(response, () => ({
                isOther: request.session !== old && request.session.id !== old.id,
                isNamed: request.session.id === request.sessionID,
                isReturned: returned === old,
                keys: Object.keys(request.session),
              })),
            );
          },
        },
      );
      await browser.get("/count");
      const old = browser.cookie;
      expect(await browser.json("/renew")).toEqual({
        isOther: true,
        isNamed: true,
        isReturned: true,
        keys: ["cookie"],
      });
      browser.cookie = old;
      expect(await browser.json("/count")).toBe(1);
    });

    it("regenerates, and what is then put into it is kept by save, and by the end of the response", async () => {
      const { browser } = await start(
        {},
        {
          "/renew": (request, response) =>
            void request.session.regenerate(() => {
              fieldsOf(request).user = "alice";
              request.session.save(() => {
                fieldsOf(request).role = "admin";
                response.json(null);
              });
            }),
          "/count": count,
          "/tell": tell,
        },
      );
      await browser.get("/count");
      await browser.get("/renew");
      expect(await browser.json("/tell")).toMatchObject({ user: "alice", role: "admin" });
    });

    it("is gone for the handler at once when destroyed, and its id with it", async () => {
      const { browser } = await start(
        {},
        {
          "/count": count,
          "/end": (request, response) => {
            const { session: ended } = request;
            const returned: unknown = ended.destroy(
              after(response, () => [(request as { session?: unknown }).session ?? null, returned === ended]),
            );
          },
          "/end-twice": (request, response) => {
            const { session: ended } = request;
            ended.destroy(() => ended.destroy(after(response, () => "ended")));
          },
        },
      );
      await browser.get("/count");
      const { cookie } = browser;
      expect(await browser.json("/end")).toEqual([null, true]);
      browser.cookie = cookie;
      expect(await browser.json("/count")).toBe(1);
      expect(await browser.json("/end-twice")).toBe("ended");
    });

    it("reloads what is stored, as a new object of the same session", async () => {
      const { browser, base } = await start(
        {},
        {
          "/count": count,
          "/reload": (request, response) => {
            const { session: old } = request;
            fieldsOf(request).unsaved = true;
            void other.get("/count").then(() =>
              old.reload(
                after(response, () => {
                  const { count: counted, unsaved } = fieldsOf(request);
                  fieldsOf(request).kept = true;
                  return [counted, unsaved ?? null, request.session !== old, request.session.id === old.id];
                }),
              ),
            );
          },
          "/missing": (request, response) =>
            void request.sessionStore.destroy(request.sessionID, () =>
              request.session.reload(after(response, () => null)),
            ),
          "/tell": tell,
        },
      );
      const other = new Browser(base);
      await browser.get("/count");
      other.cookie = browser.cookie;
      expect(await browser.json("/reload")).toEqual([2, null, true, true]);
      expect(await browser.json("/tell")).toMatchObject({ count: 2, kept: true });
      expect(await browser.get("/missing")).toMatchObject({ status: 500, text: "failed to load session" });
    });

    it("touch gives itself back, and the cookie its whole life", async () => {
      const { browser } = await start(
        { cookie: { maxAge: 60_000 } },
        {
          "/": (request, response) => {
            Object.assign(request.session.cookie, { expires: new Date(Date.now() + 1_000), originalMaxAge: 60_000 });
            const returned = request.session.touch();
            const { maxAge = 0 } = request.session.cookie;
            response.json([returned === request.session, maxAge > 50_000]);
          },
        },
      );
      expect(await browser.json("/")).toEqual([true, true]);
    });

    it("is left alone where it exists already", async () => {
      const own = { mine: true };
      const { browser } = await start({ saveUninitialized: true }, { "/": tell }, [
        (request, _response, next) => {
          Object.assign(request, { session: own });
          next();
        },
      ]);
      expect(await browser.get("/")).toMatchObject({ text: JSON.stringify(own), cookies: [] });
      const twice = await start({}, { "/": count }, [make({ name: "first" })]);
      expect((await twice.browser.get("/")).cookies).toEqual([expect.stringMatching(/^first=/)]);
    });

    it("is not stored under an id that is no string", async () => {
      const { browser } = await start(
        { saveUninitialized: true },
        {
          "/": (request, response) => {
            Object.assign(request, { sessionID: () => "x" });
            count(request, response);
          },
        },
      );
      expect(await browser.get("/")).toMatchObject({ status: 200, cookies: [] });
    });

    it("may be another session of the Store, which the browser then has", async () => {
      const { browser } = await start(
        { genid: () => ids.shift() ?? "last" },
        {
          "/count": count,
          "/switch": (request, response) =>
            void request.sessionStore.get("a", (error, data) => {
              request.sessionID = "a";
              if (data) request.sessionStore.createSession(request, data);
              fieldsOf(request).switched = true;
              after(response, () => request.session.id)(error);
            }),
          "/tell": tell,
        },
      );
      const ids = ["a", "b"];
      await browser.get("/count");
      browser.cookie = "";
      await browser.get("/count");
      expect(await browser.json("/switch")).toBe("a");
      expect(await browser.json("/tell")).toMatchObject({ count: 1, switched: true });
    });

    it("can be made anew by the Store once it was destroyed", async () => {
      const { browser } = await start(
        {},
        {
          "/count": count,
          "/anew": (request, response) => {
            const { id } = request.session;
            request.session.destroy(() => {
              (request.sessionStore as unknown as { generate(request: Request): void }).generate(request);
              fieldsOf(request).anew = true;
              response.json(request.session.id === id);
            });
          },
          "/tell": tell,
        },
      );
      await browser.get("/count");
      expect(await browser.json("/anew")).toBe(false);
      const told = (await browser.json("/tell")) as object;
      expect(told).toMatchObject({ anew: true });
      expect(told).not.toHaveProperty("count");
    });

    it("has, for the browser, the id that a handler gives the request", async () => {
      const { browser } = await start(
        {},
        {
          "/": (request, response) => {
            request.sessionID = "given";
            count(request, response);
          },
        },
      );
      expect((await browser.get("/")).cookies).toEqual([expect.stringMatching(/^connect\.sid=s%3Agiven\./)]);
    });

    it("is another one for a middleware with another name, under another path", async () => {
      const admin = express();
      admin.use(make({ name: "admin.sid" }));
      admin.use(count);
      const app = express();
      app.use("/admin", admin);
      app.use(make({ name: "site.sid" }));
      app.use(count);
      const browser = new Browser(await serve(app));
      expect((await browser.get("/")).cookies).toEqual([expect.stringMatching(/^site\.sid=/)]);
      expect((await browser.get("/admin")).cookies).toEqual([expect.stringMatching(/^admin\.sid=/)]);
      expect(await browser.json("/admin")).toBe(2);
    });

    it("is loaded from its Store by id, with its methods", async () => {
      const { browser } = await start(
        {},
        {
          "/count": count,
          "/load": (request, response) =>
            void request.sessionStore.load(request.sessionID, (error, loaded) => {
              after(response, () => [loaded?.cookie.httpOnly, (loaded as { id?: string }).id === request.sessionID])(
                error,
              );
            }),
        },
      );
      await browser.get("/count");
      expect(await browser.json("/load")).toEqual([true, true]);
    });

    it("is kept by every way to answer: HEAD, 204, 304, redirect", async () => {
      const answers: Record<string, Handler> = {
        "/204": (_request, response) => void response.status(204).end(),
        "/304": (_request, response) => void response.status(304).end(),
        "/302": (_request, response) => response.redirect("/tell"),
        "/null": (_request, response) => void response.end(null),
        "/head": (_request, response) => void response.send("a body"),
      };
      for (const [path, answer] of Object.entries(answers)) {
        const { browser } = await start(
          {},
          {
            [path]: (request, response) => {
              fieldsOf(request).from = path;
              answer(request, response);
            },
            "/tell": tell,
          },
        );
        const { cookies } = await browser.get(path, { method: path === "/head" ? "HEAD" : "GET" });
        expect(cookies).toHaveLength(1);
        expect(await browser.json("/tell")).toMatchObject({ from: path });
      }
    });
  });
});
