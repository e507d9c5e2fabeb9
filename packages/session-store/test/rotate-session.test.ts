import express, { type Request, type Response } from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { type SessionOptions, createSessions, rotateSession, session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { intercept, livingKeys, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

type Handler = (request: Request, response: Response) => Promise<void> | void;

/** An app with a session per browser; its `commit` scripts fail once `cut` is called. */
async function start(routes: Record<string, Handler>, options: Partial<SessionOptions> = {}) {
  let isCut = false;
  const cuttable = intercept(
    client,
    (send) => (isCut ? Promise.reject(new Error("the line is cut")) : send()),
    "commit",
  );
  const prefix = uniquePrefix();
  const sessions = createSessions({ client: cuttable, prefix, userOf: ({ user }) => user as string | undefined });
  onTestFinished(() => {
    sessions.close();
  });
  const app = express();
  app.use(session({ sessions, secret: "s", ...options }));
  app.get("/sign-in", (request, response) => {
    Object.assign(request.session, { user: "alice", cart: ["tea"] });
    response.json(request.sessionID);
  });
  app.get("/tell", (request, response) => {
    const { user, cart, n } = request.session;
    response.json({ id: request.sessionID, user, cart, n });
  });
  app.get("/ignore", (_request, response) => void response.send("x"));
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  const base = await serve(app);
  const cut = () => {
    isCut = true;
  };
  return { browser: new Browser(base), other: new Browser(base), prefix, sessions, cut };
}

const rotate: Handler = async (request, response) => {
  request.session.n = 1;
  await rotateSession(request);
  response.json(request.sessionID);
};

const rotateWithGrace: Handler = async (request, response) => {
  await rotateSession(request, { graceMs: 10_000 });
  response.json(request.sessionID);
};

describe("rotateSession", () => {
  it("gives the session a new id and cookie, with what it holds and what this request has changed", async () => {
    const { browser, other, prefix } = await start({ "/rotate": rotate });
    const before = await browser.json("/sign-in");
    other.cookie = browser.cookie;
    const after = await browser.json("/rotate");
    expect(after).not.toBe(before);
    expect(await browser.json("/tell")).toEqual({ id: after, user: "alice", cart: ["tea"], n: 1 });
    expect(await livingKeys(client, prefix)).toHaveLength(1);
    expect(await other.json("/tell")).not.toHaveProperty("user");
  });

  it("makes req.session a new object, whose changes are kept; the old one can no longer be saved", async () => {
    const { browser } = await start({
      "/rotate": async (request, response) => {
        const old = request.session;
        const { id } = old;
        await rotateSession(request);
        request.session.cart?.push("milk");
        const error = await old.save().catch((thrown: unknown) => thrown as Error);
        response.json([
          request.session !== old,
          request.session.id === request.sessionID,
          old.id === id,
          error?.message,
        ]);
      },
    });
    await browser.get("/sign-in");
    expect(await browser.json("/rotate")).toEqual([true, true, true, expect.stringContaining("another id")]);
    expect(await browser.json("/tell")).toMatchObject({ cart: ["tea", "milk"] });
  });

  it("with graceMs leads requests under way to the session, and their browser to its new id", async () => {
    const { browser, other } = await start({ "/rotate": rotateWithGrace });
    await browser.get("/sign-in");
    const before = browser.cookie;
    const after = await browser.json("/rotate");
    for (const path of ["/tell", "/ignore", "/sign-in"]) {
      other.cookie = before;
      await other.get(path);
      expect(other.cookie).toBe(browser.cookie);
    }
    expect(await other.json("/tell")).toMatchObject({ id: after, user: "alice" });
  });

  it("S3: sends no such cookie once that session has been destroyed", async () => {
    const { browser, other } = await start({
      "/rotate": rotateWithGrace,
      "/slow": async (request, response) => {
        expect(request.session.user).toBe("alice");
        await browser.get("/destroy");
        response.send("x");
      },
      "/destroy": async (request, response) => {
        await request.session.destroy();
        response.send("x");
      },
    });
    await browser.get("/sign-in");
    other.cookie = browser.cookie;
    await browser.get("/rotate");
    expect((await other.get("/slow")).cookies).toEqual([]);
  });

  it("S7: does not lead to the session of another user than before", async () => {
    const { browser, other } = await start({
      "/change-user": async (request, response) => {
        request.session.user = "bob";
        await rotateSession(request, { graceMs: 10_000 });
        response.json(null);
      },
    });
    await browser.get("/sign-in");
    other.cookie = browser.cookie;
    await browser.get("/change-user");
    expect(await browser.json("/tell")).toMatchObject({ user: "bob" });
    expect(await other.json("/tell")).not.toHaveProperty("user");
  });

  it("works on a session that is born in this request", async () => {
    const { browser } = await start({ "/rotate": rotate });
    const id = await browser.json("/rotate");
    expect(await browser.json("/tell")).toEqual({ id, n: 1 });
  });

  it("S3: brings nothing back where the session has been destroyed meanwhile, and sends no cookie", async () => {
    const { browser, prefix, sessions } = await start({
      "/rotate": async (request, response) => {
        request.session.n = 1;
        await sessions.destroy(request.sessionID);
        await rotateSession(request);
        response.send("x");
      },
    });
    await browser.get("/sign-in");
    expect(await browser.get("/rotate")).toMatchObject({ status: 200, cookies: [] });
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("holds an answer that does not wait for it, and is the answer where it fails unheard", async () => {
    const { browser, cut } = await start({
      "/rotate": (request, response) => {
        void rotateSession(request);
        response.send("x");
      },
    });
    await browser.get("/sign-in");
    const before = browser.cookie;
    expect((await browser.get("/rotate")).cookies).toHaveLength(1);
    expect(browser.cookie).not.toBe(before);
    expect(await browser.json("/tell")).toMatchObject({ user: "alice" });
    cut();
    expect(await browser.get("/rotate")).toMatchObject({ status: 503, cookies: [] });
  });

  it("asks genid for the id", async () => {
    const ids = ["first", "second"];
    const { browser } = await start({ "/rotate": rotate }, { genid: () => ids.shift() ?? "none" });
    await browser.get("/sign-in");
    expect(await browser.json("/rotate")).toBe("second");
  });

  it("is refused for a request without a session, and for a grace that can't hold", async () => {
    const app = express();
    app.get("/none", async (request, response) => {
      response.json(await rotateSession(request).catch((error: unknown) => error instanceof TypeError));
    });
    app.use(session({ client, prefix: uniquePrefix(), secret: "s" }));
    app.get("/", async (request, response) => {
      const refused = await rotateSession(request, { graceMs: 1 }).catch(
        (error: unknown) => error instanceof TypeError,
      );
      Reflect.deleteProperty(request, "session");
      const without = await rotateSession(request).catch((error: unknown) => error instanceof TypeError);
      response.json([refused, without]);
    });
    const browser = new Browser(await serve(app));
    expect(await browser.json("/none")).toBe(true);
    expect(await browser.json("/")).toEqual([true, true]);
  });
});
