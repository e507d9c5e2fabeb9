import { sign } from "cookie-signature";
import expressSession, { type SessionData } from "express-session";
import express, { type Request, type Response } from "express";
import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { RedisStore, type SessionOptions, createSessions, rotateSession, session } from "../src/index.ts";
import { notSent } from "./harness/attacks.ts";
import { Browser, serve } from "./harness/app.ts";
import { cookie, startEngine } from "./harness/engine.ts";
import { intercept, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

type Handler = (request: Request, response: Response) => Promise<void> | void;

/** An app with sessions of users, and two browsers. */
async function start(routes: Record<string, Handler>, options: Partial<SessionOptions & { client: Redis }> = {}) {
  const { client: redis = client, ...rest } = options;
  const prefix = uniquePrefix();
  const sessions = createSessions({ client: redis, prefix, userOf: ({ user }) => user as string | undefined });
  onTestFinished(() => {
    sessions.close();
  });
  const app = express();
  app.use(session({ sessions, secret: "s", ...rest }));
  app.get("/sign-in", (request, response) => {
    Object.assign(request.session, { user: "alice", cart: ["tea"] });
    response.json(request.sessionID);
  });
  app.get("/tell", (request, response) => {
    const { user, cart, n } = request.session;
    response.json({ user, cart, n });
  });
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  const base = await serve(app);
  return { browser: new Browser(base), other: new Browser(base), prefix, sessions };
}

/** A client whose next script of this name is not sent once `cut` is called, or whose every one, until `mend` is. */
function cuttable(verb: string) {
  let left = 0;
  const redis = intercept(client, (send) => (left > 0 && (left -= 1) >= 0 ? notSent(send, 0) : send()), verb);
  const cut = (times = Infinity) => {
    left = times;
  };
  return { redis, cut, mend: () => cut(0) };
}

/** A client whose second commit of a rotation, which decides, waits once it is told to. */
function heldRotation() {
  let left = 0;
  const [arrived, go] = [signal(), signal()];
  const redis = intercept(
    client,
    async (send) => {
      if (left > 0 && (left -= 1) === 0) {
        arrived.give();
        await go.given;
      }
      return send();
    },
    "commit",
  );
  const hold = () => {
    left = 2;
  };
  return { redis, hold, arrived: arrived.given, release: go.give };
}

/** A point in a test that others wait for. */
function signal() {
  let give: () => void = () => undefined;
  const given = new Promise<void>((resolve) => (give = resolve));
  return { give, given };
}

const sendHeaders = (response: Response) => new Promise<void>((resolve) => void response.write("a", () => resolve()));
const signed = (id: string) => `connect.sid=${encodeURIComponent(`s:${sign(id, "s")}`)}`;

describe("a function of the app that throws", () => {
  it.each([
    ["genid", { genid: () => fail() }],
    ["cookie, when it is asked again", { cookie: failingAgain() }],
  ])("is the request's failure after a load too: %s", async (_name, options) => {
    const { browser } = await start({}, options);
    browser.cookie = signed("expired");
    expect(await browser.get("/tell")).toMatchObject({ status: 500, cookies: [] });
  });

  function fail(): never {
    throw new Error("no tenant");
  }

  function failingAgain() {
    let count = 0;
    return () => ((count += 1) > 1 ? fail() : {});
  }
});

describe("a session that is unset in a stream", () => {
  it("has ended before the stream does", async () => {
    const { browser, sessions } = await start(
      {
        "/stream": async (request, response) => {
          expect(request.session.user).toBe("alice");
          await sendHeaders(response);
          Object.assign(request, { session: null });
          response.end("signed out");
        },
      },
      { unset: "destroy" },
    );
    await browser.get("/sign-in");
    await browser.get("/stream");
    expect(await sessions.listForUser("alice")).toEqual([]);
  });
});

describe("a session that could not be ended", () => {
  it("breaks a stream whose handler did not wait for it", async () => {
    const { redis, cut, mend } = cuttable("destroy");
    const { browser } = await start(
      {
        "/stream": async (request, response) => {
          expect(request.session.user).toBe("alice");
          await sendHeaders(response);
          cut();
          void request.session.destroy();
          response.end("signed out");
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    await expect(browser.get("/stream")).rejects.toThrow();
    mend();
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
  });

  it("is the answer though the handler, who did not wait, has parted with another since", async () => {
    const { redis, cut } = cuttable("destroy");
    const { browser } = await start(
      {
        "/out": async (request, response) => {
          const { sessionID } = request;
          cut(1);
          void request.session.regenerate();
          while (request.sessionID === sessionID) await new Promise(setImmediate);
          await request.session.regenerate();
          response.send("signed out");
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    expect(await browser.get("/out")).toMatchObject({ status: 503, cookies: [] });
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
  });

  it.each([false, true])("keeps its cookie, where saveUninitialized is %s", async (saveUninitialized) => {
    const { redis, cut } = cuttable("destroy");
    const { browser } = await start(
      {
        "/regenerate": async (request, response) => {
          cut(1);
          const outcome = await request.session.regenerate().catch(() => "failed");
          response.status(502).send(outcome);
        },
      },
      { client: redis, saveUninitialized },
    );
    await browser.get("/sign-in");
    expect(await browser.get("/regenerate")).toMatchObject({ status: 502, text: "failed", cookies: [] });
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
  });

  it("is not signed in with by a handler that does not look whether it was", async () => {
    const { redis, cut } = cuttable("destroy");
    const { browser, other } = await start(
      {
        "/visit": (request, response) => {
          request.session.n = 1;
          response.send("x");
        },
        "/log-in": (request, response) => {
          cut(1);
          request.session.regenerate(() => {
            request.session.user = "alice";
            response.send("signed in");
          });
        },
      },
      { client: redis },
    );
    await other.get("/visit");
    browser.cookie = other.cookie;
    await browser.get("/log-in");
    expect(await browser.json("/tell")).toEqual({ user: "alice" });
    expect(await other.json("/tell")).toEqual({ n: 1 });
  });
});

describe("a cookie", () => {
  it("leads to where the session lives by then, if another request has rotated it meanwhile", async () => {
    const inside = signal();
    const rotated = signal();
    const { browser, other } = await start(
      {
        "/rotate": async (request, response) => {
          await rotateSession(request, { graceMs: 10_000 });
          response.send("x");
        },
        "/slow": async (request, response) => {
          expect(request.session.user).toBe("alice");
          inside.give();
          await rotated.given;
          request.session.n = 1;
          response.send("x");
        },
      },
      { cookie: { maxAge: 60_000 } },
    );
    await browser.get("/sign-in");
    other.cookie = browser.cookie;
    const slow = other.get("/slow");
    await inside.given;
    await browser.get("/rotate");
    rotated.give();
    expect((await slow).cookies).toHaveLength(1);
    expect(other.cookie).toBe(browser.cookie);
    expect(await browser.json("/tell")).toMatchObject({ user: "alice", n: 1 });
  });

  it("leads to the session that a handler has taken for the request's", async () => {
    const { browser, sessions } = await start({
      "/adopt": async (request, response) => {
        const store = request.sessionStore as unknown as RedisStore;
        const data = (await store.get("token")) as SessionData;
        request.sessionStore.createSession(request, data);
        request.session.n = 1;
        if (request.query.save) await request.session.save();
        response.send("x");
      },
    });
    await sessions.commit(sessions.born("token"), { cookie, user: "alice" });
    for (const path of ["/adopt", "/adopt?save=1"]) {
      browser.cookie = "";
      await browser.get(path);
      expect(await browser.json("/tell")).toEqual({ user: "alice", n: 1 });
    }
    expect(await sessions.listForUser("alice")).toHaveLength(1);
  });

  it("is sent for a session that was stored early only if it still lives (S3)", async () => {
    const stored = signal();
    const decided = signal();
    const { browser, sessions } = await start({
      "/log-in": async (request, response) => {
        await request.session.regenerate();
        request.session.user = "alice";
        await request.session.save();
        stored.give();
        await decided.given;
        response.send("x");
      },
    });
    const answer = browser.get("/log-in");
    await stored.given;
    await sessions.destroyForUser("alice");
    decided.give();
    expect(await answer).toMatchObject({ status: 200, cookies: [] });
  });

  it("is sent for a session that was stored early though Redis can't be asked whether it lives", async () => {
    const { redis, cut, mend } = cuttable("touch");
    const { browser } = await start(
      {
        "/log-in": async (request, response) => {
          request.session.user = "alice";
          await request.session.save();
          cut();
          response.send("x");
        },
      },
      { client: redis },
    );
    await browser.get("/log-in");
    mend();
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
  });
});

describe("a session that is being rotated", () => {
  const ends: [string, (request: Request) => unknown][] = [
    ["and that is waited for", (request) => request.session.destroy()],
    ["and is told by a callback", (request) => new Promise((resolve) => request.session.destroy(resolve))],
    ["and nobody waits", (request) => void request.session.destroy()],
    ["as req.session = null", (request) => Object.assign(request, { session: null })],
    ["as it is regenerated", (request) => request.session.regenerate()],
  ];
  it.each(ends)("is ended with it when the handler ends it, %s", async (_how, end) => {
    const { browser, sessions } = await start(
      {
        "/out": async (request, response) => {
          void rotateSession(request);
          await end(request);
          response.send("signed out");
        },
      },
      { unset: "destroy" },
    );
    await browser.get("/sign-in");
    expect(await browser.get("/out")).toMatchObject({ status: 200 });
    expect(await browser.json("/tell")).toEqual({});
    expect(await sessions.listForUser("alice")).toEqual([]);
  });

  it.each(["destroy", "regenerate"] as const)("has ended, whose-ever it is by then, after %s", async (method) => {
    const { browser, sessions } = await start({
      "/out": async (request, response) => {
        request.session.user = "bob";
        void rotateSession(request);
        await request.session[method]();
        response.json(await sessions.listForUser("bob"));
      },
    });
    await browser.get("/sign-in");
    expect(await browser.json("/out")).toEqual([]);
  });

  it.each([
    ["saved", true],
    ["left to the answer", false],
  ])("keeps what its handler changes meanwhile: %s", async (_how, saves) => {
    const { redis, hold, arrived, release } = heldRotation();
    const { browser } = await start(
      {
        "/rotate": async (request, response) => {
          hold();
          const rotated = rotateSession(request);
          await arrived;
          request.session.n = 7;
          request.session.cart?.push("milk");
          const saved = saves && request.session.save();
          release();
          await Promise.all([rotated, saved]);
          response.send("x");
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    await browser.get("/rotate");
    expect(await browser.json("/tell")).toEqual({ user: "alice", cart: ["tea", "milk"], n: 7 });
  });

  it("has its new id though what its handler put in meanwhile can't be stored", async () => {
    const { redis, hold, arrived, release } = heldRotation();
    const { browser } = await start(
      {
        "/rotate": async (request, response) => {
          hold();
          const rotated = rotateSession(request);
          await arrived;
          Object.assign(request.session, { n: 7n });
          release();
          const failure = await rotated.catch((error: unknown) => error as { code: string });
          response.json(failure?.code);
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    expect(await browser.json("/rotate")).toBe("INVALID_SESSION");
    expect(await browser.json("/tell")).toEqual({ user: "alice", cart: ["tea"] });
  });

  it("is rotated again only then, and stays the request's", async () => {
    const { browser, sessions } = await start({
      "/rotate": async (request, response) => {
        const { sessionID } = request;
        await Promise.all([rotateSession(request), rotateSession(request), rotateSession(request)]);
        request.session.n = 1;
        response.json(request.sessionID !== sessionID);
      },
    });
    await browser.get("/sign-in");
    expect(await browser.json("/rotate")).toBe(true);
    expect(await browser.json("/tell")).toMatchObject({ user: "alice", n: 1 });
    expect(await sessions.listForUser("alice")).toHaveLength(1);
  });

  it("stays the request's when it is reloaded meanwhile", async () => {
    const { redis, hold, arrived, release } = heldRotation();
    const { browser } = await start(
      {
        "/rotate": async (request, response) => {
          hold();
          const rotated = rotateSession(request);
          await arrived;
          await request.session.reload();
          release();
          await rotated;
          response.send("x");
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    await browser.get("/rotate");
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
  });

  it("holds the end of a stream, whose last changes are stored", async () => {
    const { redis, hold, arrived, release } = heldRotation();
    const { browser, sessions } = await start(
      {
        "/stream": async (request, response) => {
          expect(request.session.user).toBe("alice");
          await sendHeaders(response);
          hold();
          void rotateSession(request);
          await arrived;
          request.session.n = 9;
          response.end("done");
          release();
        },
      },
      { client: redis },
    );
    await browser.get("/sign-in");
    await browser.get("/stream");
    expect(await sessions.listForUser("alice")).toMatchObject([{ fields: { n: 9 } }]);
  });
});

describe("a session known by an id that it had before", () => {
  /** Alice's session, rotated from "old" to "new" a moment ago, and a Store that has read it by "old". */
  async function rotated() {
    const one = startEngine(client, { userOf: ({ user }) => user as string | undefined });
    await one.create("old", { user: "alice" });
    const { tracked, fields } = await one.load("old");
    await one.sessions.rotate(tracked, fields, { newId: "new", graceMs: 10_000 });
    const store = new RedisStore({ client, prefix: one.prefix, userOf: ({ user }) => user as string | undefined });
    const read = async () => (await store.get("old")) as SessionData;
    return { ...one, store, read };
  }

  it("is stored by a Store with what others have stored meanwhile", async () => {
    const { store, read, change, data } = await rotated();
    const mine = await read();
    await change("new", { n: 1 });
    await store.set("old", Object.assign(mine, { cart: ["tea"] }));
    expect(await data("new")).toEqual({ user: "alice", n: 1, cart: ["tea"] });
  });

  it("is not revived by a Store (S3)", async () => {
    const { store, read, sessions } = await rotated();
    const mine = await read();
    await sessions.destroyForUser("alice");
    await store.set("old", Object.assign(mine, { n: 1 }));
    expect(await sessions.load("old")).toBeUndefined();
    expect(await sessions.load("new")).toBeUndefined();
  });

  it("is not revived by stock express-session", async () => {
    const { store, sessions } = await rotated();
    const app = express();
    app.use(expressSession({ store, secret: "s", resave: false, saveUninitialized: false }));
    app.get("/", async (request, response) => {
      request.session.n = 1;
      await sessions.destroyForUser("alice");
      request.session.save(() => response.send("x"));
    });
    const browser = new Browser(await serve(app));
    browser.cookie = signed("old");
    await browser.get("/");
    expect(await sessions.load("old")).toBeUndefined();
    expect(await sessions.load("new")).toBeUndefined();
  });

  it("is not revived by session() when it was reloaded", async () => {
    const { browser, sessions } = await start({
      "/reload": async (request, response) => {
        expect(request.session.user).toBe("alice");
        const same = await sessions.load(request.sessionID);
        if (!same) throw new Error("there is no such session");
        await sessions.rotate(same, sessions.read(same) ?? {}, { newId: "of another request", graceMs: 10_000 });
        await request.session.reload();
        await sessions.destroyForUser("alice");
        request.session.n = 1;
        await request.session.save();
        response.send("x");
      },
    });
    await browser.get("/sign-in");
    await browser.get("/reload");
    expect(await browser.json("/tell")).toEqual({});
  });
});
