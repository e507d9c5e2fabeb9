import type { Server } from "node:http";
import express, { type Express, type RequestHandler } from "express";
import type { SessionData } from "express-session";
import { describe, expect, it, onTestFinished } from "vitest";
import { createSessions, session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { intercept, itOnRedis, livingKeys, restrictedClient, testClient, uniquePrefix } from "./harness/redis.ts";

declare module "express-session" {
  interface SessionData {
    n: number;
    user: string;
    cart: string[];
  }
}

const client = testClient();

type Options = Partial<Parameters<typeof session>[0]> & { prefix?: string };

/** An app with the routes that the tests speak of; more can be added. */
async function start(options: Options = {}, more: (app: Express) => void = () => undefined) {
  const prefix = options.prefix ?? uniquePrefix();
  const app = express();
  app.use(session({ client, secret: "s", ids: "plain", ...options, prefix }));
  const tell: RequestHandler = (req, res) => {
    const { cookie: _cookie, ...data } = req.session as SessionData;
    res.json({ id: req.sessionID, ...data });
  };
  more(app);
  app.get("/ignore", (_req, res) => void res.send("x"));
  app.get("/tell", tell);
  app.get("/count", (req, _res, next) => {
    req.session.n = (req.session.n ?? 0) + 1;
    next();
  });
  app.get("/destroy", (req, _res, next) => {
    req.session.destroy(next);
  });
  app.get("/regenerate", (req, res, next) => {
    req.session.regenerate((error: unknown) => {
      if (error) return void next(error);
      req.session.user = "alice";
      tell(req, res, next);
    });
  });
  app.get("/null", (req, res) => {
    Object.assign(req, { session: null });
    res.send("x");
  });
  app.get("/count", tell);
  app.get("/destroy", (req, res) => void res.json({ session: (req as { session?: unknown }).session === undefined }));
  const base = await serve(app);
  const keys = () => livingKeys(client, prefix);
  return { base, prefix, browser: new Browser(base), keys };
}

describe("the express-session API", () => {
  it("keeps a session from request to request", async () => {
    const { browser } = await start();
    expect(await browser.json("/count")).toMatchObject({ n: 1 });
    expect(await browser.json("/count")).toMatchObject({ n: 2 });
    expect(await browser.json("/tell")).toMatchObject({ n: 2 });
  });

  it("makes no session and no cookie for a request that puts nothing into one", async () => {
    const { browser, keys } = await start();
    expect((await browser.get("/ignore")).cookies).toEqual([]);
    expect((await browser.get("/tell")).cookies).toEqual([]);
    expect(await keys()).toEqual([]);
  });

  it("with saveUninitialized it makes one for each", async () => {
    const { browser, keys } = await start({ saveUninitialized: true });
    expect((await browser.get("/ignore")).cookies).toHaveLength(1);
    expect(await keys()).toHaveLength(1);
    expect((await browser.get("/ignore")).cookies).toEqual([]);
    expect(await keys()).toHaveLength(1);
  });

  it("sets the cookie when the session is born and, where it expires, when it changes", async () => {
    const { browser } = await start();
    expect((await browser.get("/count")).cookies).toEqual([
      expect.stringMatching(/^connect\.sid=s%3A.+; Path=\/; HttpOnly$/),
    ]);
    expect((await browser.get("/count")).cookies).toEqual([]);
    const expiring = (await start({ cookie: { maxAge: 60_000 } })).browser;
    await expiring.get("/count");
    expect((await expiring.get("/tell")).cookies).toEqual([]);
    expect((await expiring.get("/count")).cookies).toEqual([expect.stringContaining("Expires=")]);
  });

  it("gives the cookie its name and all its attributes", async () => {
    const cookie = {
      path: "/",
      domain: "example.org",
      sameSite: "strict",
      priority: "high",
      partitioned: true,
    } as const;
    const { browser } = await start({ name: "sid", cookie: () => ({ ...cookie, httpOnly: false, maxAge: 1_000 }) });
    expect((await browser.get("/count")).cookies[0]).toMatch(
      /^sid=.+; Domain=example\.org; Path=\/; Expires=.+ GMT; Partitioned; Priority=High; SameSite=Strict$/,
    );
    expect((await (await start({ key: "k" })).browser.get("/count")).cookies[0]).toMatch(/^k=/);
  });

  it("sends a secure cookie only over TLS, as the proxy tells", async () => {
    const count = async (options: Options, headers: Record<string, string> = {}) =>
      (await (await start(options)).browser.get("/count", { headers })).cookies[0];
    expect(await count({ cookie: { secure: true } })).toBeUndefined();
    expect(await count({ cookie: { secure: true }, proxy: true }, { "x-forwarded-proto": "https, http" })).toContain(
      "Secure",
    );
    expect(await count({ cookie: { secure: true }, proxy: false }, { "x-forwarded-proto": "https" })).toBeUndefined();
    expect(await count({ cookie: { secure: "auto" } })).not.toContain("Secure");
    expect(await count({ cookie: { secure: "auto" }, proxy: true }, { "x-forwarded-proto": "https" })).toContain(
      "Secure",
    );
  });

  it("ends a session with destroy, and takes the cookie from the browser that brought it", async () => {
    const { browser, keys } = await start();
    await browser.get("/count");
    const { cookies, text } = await browser.get("/destroy");
    expect(text).toBe('{"session":true}');
    expect(cookies).toEqual(["connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"]);
    expect(await keys()).toEqual([]);
    expect((await new Browser((await start()).base).get("/destroy")).cookies).toEqual([]);
  });

  it("leaves a cookie that the handler cleared itself to the handler", async () => {
    const { browser } = await start({}, (app) =>
      app.get("/sign-out", (req, res) => {
        req.session.destroy(() => res.clearCookie("connect.sid").end());
      }),
    );
    await browser.get("/count");
    const { cookies } = await browser.get("/sign-out");
    expect(cookies).toEqual(["connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
  });

  it("regenerates: a new id, empty, and the old one is dead at once", async () => {
    const { browser, base, keys } = await start();
    const before = (await browser.json("/count")) as { id: string };
    const old = new Browser(base);
    old.cookie = browser.cookie;
    const after = (await browser.json("/regenerate")) as { id: string };
    expect(after).toEqual({ id: expect.not.stringContaining(before.id) as string, user: "alice" });
    expect(await keys()).toHaveLength(1);
    expect(await old.json("/tell")).not.toHaveProperty("n");
    expect(await browser.json("/tell")).toEqual(after);
  });

  it("reload shows what others have stored, save stores at once", async () => {
    const { browser, prefix } = await start({}, (app) =>
      app.get("/reload", (req, res, next) => {
        req.session.user = "mine";
        void other().then(() => {
          req.session.reload((error: unknown) => {
            if (error) return void next(error);
            const { n, user = null } = req.session;
            req.session.cart = ["saved"];
            req.session.save((failed: unknown) => {
              if (failed) return void next(failed);
              void sessions.load(req.sessionID).then((tracked) => {
                res.json({
                  n,
                  user,
                  stored: tracked && sessions.read(tracked)?.cart,
                });
              });
            });
          });
        });
      }),
    );
    const sessions = createSessions({ client, prefix, ids: "plain" });
    const { id } = (await browser.json("/count")) as { id: string };
    const other = async () => {
      const tracked = await sessions.load(id);
      if (tracked) await sessions.commit(tracked, { ...sessions.read(tracked), n: 41 });
    };
    expect(await browser.json("/reload")).toEqual({ n: 41, user: null, stored: ["saved"] });
  });

  it("req.session = null keeps the stored session, or destroys it", async () => {
    const keeping = await start();
    await keeping.browser.get("/count");
    expect((await keeping.browser.get("/null")).cookies).toEqual([]);
    expect(await keeping.keys()).toHaveLength(1);
    const destroying = await start({ unset: "destroy" });
    await destroying.browser.get("/count");
    expect((await destroying.browser.get("/null")).cookies).toEqual([expect.stringContaining("connect.sid=;")]);
    expect(await destroying.keys()).toEqual([]);
  });

  it("rolling sends the cookie each time, with a new expiry", async () => {
    const { browser } = await start({ rolling: true, cookie: { maxAge: 60_000 } });
    await browser.get("/count");
    expect((await browser.get("/tell")).cookies).toHaveLength(1);
    expect((await browser.get("/ignore")).cookies).toHaveLength(1);
  });

  it("verifies with all secrets, and signs with the first", async () => {
    const prefix = uniquePrefix();
    const [before, after] = [
      await start({ secret: "old", prefix }),
      await start({ secret: ["new", "old"], prefix, cookie: { maxAge: 9_000 } }),
    ];
    await before.browser.get("/count");
    after.browser.cookie = before.browser.cookie;
    expect(await after.browser.json("/count")).toMatchObject({ n: 2 });
    await after.browser.get("/regenerate");
    expect(await (await start({ secret: "new", prefix })).browser.json("/tell")).not.toHaveProperty("user");
  });

  it("leaves alone what is outside the cookie's path, or already has a session", async () => {
    const { browser } = await start({ cookie: { path: "/inside" } }, (app) => {
      app.get("/outside", (req, res) => void res.json({ none: (req as { session?: unknown }).session === undefined }));
      app.get("/inside", (req, res) => void res.json({ none: (req as { session?: unknown }).session === undefined }));
    });
    expect(await browser.json("/outside")).toEqual({ none: true });
    expect(await (await start({ cookie: { path: null as unknown as string } })).browser.json("/count")).toMatchObject({
      n: 1,
    });
    expect(await browser.json("/inside")).toEqual({ none: false });
    const twice = await start({}, (app) => app.use(session({ client, secret: "other", prefix: uniquePrefix() })));
    expect((await twice.browser.get("/count")).cookies).toHaveLength(1);
  });

  it("asks genid for the id", async () => {
    const { browser } = await start({ genid: () => "chosen" });
    expect(await browser.json("/count")).toMatchObject({ id: "chosen" });
  });

  it.each([
    [{ secret: [] }, "secret"],
    [{ secret: ["s", undefined] }, "secret"],
    [{ secret: "s", unset: "x" }, "unset"],
    [{ secret: "s", genid: 1 }, "genid"],
    [{ secret: "s", name: "a b" }, "name"],
  ])("a mistaken option is a TypeError that names it: %o", (options, name) => {
    const mistaken = { client, ...options } as unknown as Parameters<typeof session>[0];
    expect(() => session(mistaken)).toThrow(TypeError);
    expect(() => session(mistaken)).toThrow(name);
  });
});

describe("beyond it", () => {
  it("S3: a change to a session that another request destroyed brings no cookie, and nothing back", async () => {
    const { browser, base, keys } = await start({ cookie: { maxAge: 60_000 } }, (app) =>
      app.get("/slow", (req, res) => {
        req.session.n = 99;
        void other.get("/destroy").then(() => res.send("x"));
      }),
    );
    const other = new Browser(base);
    await browser.get("/count");
    other.cookie = browser.cookie;
    expect((await browser.get("/slow")).cookies).toEqual([]);
    expect(await keys()).toEqual([]);
  });

  it("S3: an answer does not overtake the end of its session", async () => {
    let opened = Promise.resolve();
    const slow = intercept(client, (send) => opened.then(send), "destroy");
    const { browser, keys } = await start({ client: slow }, (app) =>
      app.get("/leave", (req, res) => {
        req.session.destroy(() => undefined);
        res.send("left");
      }),
    );
    await browser.get("/count");
    opened = new Promise((resolve) => setTimeout(resolve, 50));
    expect((await browser.get("/leave")).cookies).toEqual([expect.stringContaining("connect.sid=;")]);
    expect(await keys()).toEqual([]);
  });

  it("S3, S10: a session that could not be ended keeps its cookie, and nobody is told that it has ended", async () => {
    let isBroken = false;
    const cut = () => Promise.reject(new Error("the line is cut"));
    const broken = intercept(client, (send) => (isBroken ? cut() : send()), "destroy");
    const { browser } = await start({ client: broken }, (app) => {
      app.get("/unheard", (req, res) => {
        (req.session.destroy as unknown as () => void).call(req.session);
        res.send("left");
      });
    });
    await browser.get("/count");
    isBroken = true;
    const cookie = browser.cookie;
    for (const path of ["/unheard", "/destroy", "/regenerate"]) {
      expect(await browser.get(path)).toMatchObject({ status: 503, cookies: [] });
    }
    isBroken = false;
    expect(browser.cookie).toBe(cookie);
    expect(await browser.json("/count")).toMatchObject({ n: 2 });
  });

  it("S3: a session that is used after it was destroyed stays gone", async () => {
    const { browser, keys } = await start({}, (app) =>
      app.get("/use", async (req, res) => {
        const ended = req.session;
        await ended.destroy();
        ended.n = 99;
        await ended.save();
        const reloaded = await ended.reload().catch((error: unknown) => (error as Error).message);
        res.json(reloaded);
      }),
    );
    await browser.get("/count");
    expect(await browser.json("/use")).toBe("failed to load session");
    expect(await keys()).toEqual([]);
  });

  it.each([{ n: 1 }, "text"])("refuses the answer if req.session was made %o, which is no session", async (value) => {
    const { browser } = await start({}, (app) =>
      app.get("/assign", (req, res) => {
        Object.assign(req, { session: value });
        res.send("x");
      }),
    );
    await browser.get("/count");
    expect(await browser.get("/assign")).toMatchObject({ status: 500, cookies: [] });
    expect(await browser.json("/count")).toMatchObject({ n: 2 });
  });

  it("resave records each use at once, where otherwise a recent one is enough", async () => {
    const lifeAfterUse = async (resave: boolean) => {
      const { browser, keys } = await start({ resave, cookie: { maxAge: 60_000 } });
      await browser.get("/count");
      const [key = ""] = await keys();
      await client.pexpire(key, 65_000); // used a second ago: not yet due
      await browser.get("/tell");
      return client.pttl(key);
    };
    expect(await lifeAfterUse(true)).toBeGreaterThan(65_000);
    expect(await lifeAfterUse(false)).toBeLessThanOrEqual(65_000);
  });

  it("a regenerated session exists though nothing was put into it, as in express-session", async () => {
    const { browser, keys } = await start({}, (app) =>
      app.get("/renew", (req, res, next) => {
        req.session.regenerate((error: unknown) => {
          if (error) next(error);
          else res.send("x");
        });
      }),
    );
    await browser.get("/count");
    const before = browser.cookie;
    expect((await browser.get("/renew")).cookies).toEqual([expect.stringMatching(/^connect\.sid=s%3A/)]);
    expect(browser.cookie).not.toBe(before);
    expect(await keys()).toHaveLength(1);
  });

  it("S6: the cookie does not outlive the absolute limit", async () => {
    const { browser } = await start({ absoluteMs: 5_000, cookie: { maxAge: 60_000 }, rolling: true });
    for (const path of ["/count", "/count", "/tell"]) {
      const [line = ""] = (await browser.get(path)).cookies;
      const expires = new Date(/Expires=([^;]+)/.exec(line)?.[1] ?? "").getTime();
      expect(expires - Date.now()).toBeLessThanOrEqual(5_000);
    }
  });

  it("rolling goes on without an idle limit", async () => {
    const { browser } = await start({ idleMs: () => Infinity, cookie: { maxAge: 60_000 }, rolling: true });
    await browser.get("/count");
    expect((await browser.get("/tell")).cookies).toHaveLength(1);
  });

  it("S3: rolling does not send the cookie of a session that has gone meanwhile", async () => {
    const { browser, base } = await start({ rolling: true, cookie: { maxAge: 60_000 } }, (app) =>
      app.get("/slow", (_req, res) => void other.get("/destroy").then(() => res.send("x"))),
    );
    const other = new Browser(base);
    await browser.get("/count");
    other.cookie = browser.cookie;
    expect((await browser.get("/slow")).cookies).toEqual([]);
  });

  it("S2: req.session shows what was merged, and what the handler changed while it was being stored", async () => {
    const { browser, base } = await start({}, (app) => {
      app.get("/add", (req, res) => {
        (req.session.cart ??= []).push("theirs");
        res.send("x");
      });
      app.get("/merge", (req, res) => {
        req.session.cart?.push("mine");
        void other.get("/add").then(() => {
          req.session.save(() => res.json({ cart: req.session.cart, n: req.session.n, user: req.session.user }));
          req.session.user = "changed meanwhile";
        });
      });
    });
    const other = new Browser(base);
    await browser.get("/count");
    other.cookie = browser.cookie;
    await browser.get("/add");
    expect(await browser.json("/merge")).toEqual({
      cart: ["theirs", "theirs", "mine"],
      n: 1,
      user: "changed meanwhile",
    });
    expect(await other.json("/tell")).toMatchObject({ user: "changed meanwhile" });
  });

  it("S5: a session that no handler looks at is not parsed", async () => {
    const events: string[] = [];
    const { browser, prefix } = await start({ onEvent: ({ type }) => void events.push(type) });
    const { id } = (await browser.json("/count")) as { id: string };
    await client.set(
      `${prefix}${id}`,
      '{"__lockstep":{"v":1,"created":1,"writes":["w"]},"cookie":{"originalMaxAge":null} broken',
    );
    expect((await browser.get("/ignore")).status).toBe(200);
    expect(events).not.toContain("corrupt");
    expect(await browser.json("/tell")).not.toHaveProperty("n");
    expect(events.filter((type) => type === "corrupt")).toHaveLength(1);
  });

  it.each([
    ["tampered", (cookie: string) => `${cookie}x`],
    ["unsigned", () => "connect.sid=chosen-by-me"],
    ["signed by nobody we know", () => "connect.sid=s%3Aid.c2lnbmF0dXJl"],
    ["oversized", () => `connect.sid=s%3A${"x".repeat(7_000)}`],
    ["not decodable", () => "connect.sid=s%3A%E0%A4%A"],
    ["empty", () => "connect.sid="],
  ])("S11: a cookie that is %s is as if it had not been sent", async (_kind, tamper) => {
    const { browser, keys } = await start();
    await browser.get("/count");
    browser.cookie = tamper(browser.cookie);
    const { status, cookies } = await browser.get("/tell");
    expect({ status, cookies }).toEqual({ status: 200, cookies: [] });
    expect(await keys()).toHaveLength(1);
  });

  it("never adopts an id that it does not know", async () => {
    const { browser, keys } = await start();
    const { id } = (await browser.json("/count")) as { id: string };
    await client.del(...(await keys()));
    expect(await browser.json("/count")).toEqual({ id: expect.not.stringContaining(id) as string, n: 1 });
  });

  itOnRedis("S10: a session that can't be loaded is an error for the app, with its status", async () => {
    const { restricted, allow, end } = await restrictedClient(client);
    onTestFinished(end);
    const { browser } = await start({ client: restricted });
    await browser.get("/count");
    await allow("-get");
    const { status, headers, cookies } = await browser.get("/tell");
    expect({ status, retry: headers.get("retry-after"), cookies }).toEqual({ status: 503, retry: "1", cookies: [] });
  });

  it("lets a server close when its requests have been answered", async () => {
    const app = express();
    app.use(session({ client, prefix: uniquePrefix(), secret: "s" }));
    app.get("/", (req, res) => {
      req.session.n = 1;
      res.send("x");
    });
    const server = await new Promise<Server>((resolve) => {
      const listening: Server = app.listen(0, () => {
        resolve(listening);
      });
    });
    const address = server.address();
    if (typeof address !== "object" || !address) throw new Error("no address");
    expect((await fetch(`http://127.0.0.1:${address.port}/`, { headers: { connection: "close" } })).status).toBe(200);
    await new Promise((resolve) => server.close(resolve));
  });
});
