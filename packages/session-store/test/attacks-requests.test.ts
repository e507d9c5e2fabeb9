import { sign } from "cookie-signature";
import express, { type Request, type Response } from "express";
import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { type SessionOptions, createSessions, session } from "../src/index.ts";
import { notSent } from "./harness/attacks.ts";
import { Browser, serve } from "./harness/app.ts";
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
});
