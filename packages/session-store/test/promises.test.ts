import express, { type Request, type Response } from "express";
import expressSession, { type Session } from "express-session";
import { describe, expect, expectTypeOf, it, onTestFinished } from "vitest";
import { RedisStore, session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { intercept, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

type Handler = (request: Request, response: Response) => Promise<void> | void;

/** An app whose scripts of the given names fail once `cut` is called. */
async function start(routes: Record<string, Handler>, verbs: readonly string[] = []) {
  let isCut = false;
  const cuttable = verbs.reduce(
    (inner, verb) => intercept(inner, (send) => (isCut ? Promise.reject(new Error("the line is cut")) : send()), verb),
    client,
  );
  const app = express();
  app.use(session({ client: cuttable, prefix: uniquePrefix(), secret: "s" }));
  app.get("/count", (request, response) => {
    request.session.n = (request.session.n ?? 0) + 1;
    response.json(request.session.n);
  });
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  const browser = new Browser(await serve(app));
  const cut = () => {
    isCut = true;
  };
  return { browser, cut };
}

/** Rejections that nobody has taken care of. */
function watchRejections(): unknown[] {
  const seen: unknown[] = [];
  const note = (reason: unknown) => void seen.push(reason);
  process.on("unhandledRejection", note);
  onTestFinished(() => void process.off("unhandledRejection", note));
  return seen;
}

/** Node tells of unhandled rejections when the microtasks are done. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a session's methods without a callback", () => {
  it("give promises: save, reload, regenerate, destroy", async () => {
    const { browser } = await start({
      "/": async (request, response) => {
        const seen: unknown[] = [];
        const first = request.session;
        first.n = 7;
        await first.save();
        first.n = 8;
        await first.reload();
        seen.push(request.session.n);
        const { id } = request.session;
        await request.session.regenerate();
        seen.push(request.session.id !== id, request.session.n);
        await request.session.destroy();
        seen.push((request as { session?: unknown }).session);
        response.json(seen.map((value) => value ?? null));
      },
    });
    expect(await browser.json("/")).toEqual([7, true, null, null]);
  });

  it("give the session itself where there is one", async () => {
    const { browser } = await start({
      "/": (request, response) => {
        const { session: one } = request;
        expect(one.save(() => undefined)).toBe(one);
        expect(one.reload(() => undefined)).toBe(one);
        expect(one.regenerate(() => response.end())).toBe(one);
      },
      "/destroy": (request, response) => {
        const { session: one } = request;
        expect(one.destroy(() => response.end())).toBe(one);
      },
    });
    expect((await browser.get("/")).status).toBe(200);
    expect((await browser.get("/destroy")).status).toBe(200);
  });

  it.each(["regenerate", "destroy"] as const)("%s: a failure that nobody asks for is the answer", async (method) => {
    const rejections = watchRejections();
    const { browser, cut } = await start(
      {
        "/at-once": (request, response) => {
          void request.session[method]();
          response.send("done");
        },
        "/later": (request, response) => {
          const { session: one } = request;
          void one[method]();
          one.reload(() => response.send("done"));
        },
      },
      ["destroy"],
    );
    await browser.get("/count");
    cut();
    for (const path of ["/at-once", "/later"]) {
      expect(await browser.get(path)).toMatchObject({ status: 503, cookies: [] });
    }
    await settled();
    expect(rejections).toEqual([]);
    expect(await browser.json("/count")).toBe(2);
  });

  it.each([
    ["awaits", async (outcome: Promise<void>) => outcome.then(() => "ended").catch(() => "failed")],
    ["waits with others for", async (outcome: Promise<void>) => (await Promise.allSettled([outcome]))[0].status],
    ["returns", async (outcome: Promise<void>) => (async () => outcome)().catch(() => "failed")],
  ])("a failure is the handler's that %s it", async (_how, ask) => {
    const { browser, cut } = await start(
      { "/": async (request, response) => void response.status(502).send(await ask(request.session.destroy())) },
      ["destroy"],
    );
    await browser.get("/count");
    cut();
    expect(await browser.get("/")).toMatchObject({
      status: 502,
      text: expect.stringMatching(/failed|rejected/) as string,
      cookies: [],
    });
  });

  it("a failure that an async handler lets through is Express' to answer", async () => {
    const { browser, cut } = await start(
      {
        "/save": async (request, response) => {
          request.session.n = 9;
          await request.session.save();
          response.send("saved");
        },
        "/destroy": async (request, response) => {
          await request.session.destroy();
          response.send("ended");
        },
        "/reload": async (request, response) => {
          await request.session.reload();
          response.send("loaded");
        },
      },
      ["destroy", "commit"],
    );
    await browser.get("/count");
    cut();
    expect((await browser.get("/save")).status).toBe(503);
    expect((await browser.get("/destroy")).status).toBe(503);
    browser.cookie = "";
    expect(await browser.get("/reload")).toMatchObject({
      status: 500,
      text: expect.stringContaining("failed to load session") as string,
    });
  });

  it("a save that fails unheard is tried again by the end of the response, which tells", async () => {
    const rejections = watchRejections();
    const { browser, cut } = await start(
      {
        "/": (request, response) => {
          request.session.n = 9;
          void request.session.save();
          response.send("saved");
        },
      },
      ["commit"],
    );
    await browser.get("/count");
    cut();
    expect((await browser.get("/")).status).toBe(503);
    await settled();
    expect(rejections).toEqual([]);
  });

  it("may be ignored on stock express-session too, whose destroy does not look at what a Store gives", async () => {
    const rejections = watchRejections();
    let ended: Promise<unknown> = Promise.resolve();
    const cut = intercept(client, () => (ended = Promise.reject(new Error("the line is cut"))), "destroy");
    const store = new RedisStore({ client: cut, prefix: uniquePrefix() });
    // By then it is known that nobody keeps near copies, which a first write waits for.
    await store.get("nobody");
    const app = express();
    app.use(expressSession({ store, secret: "s", resave: false, saveUninitialized: false }));
    app.get("/", (request, response) => {
      void request.session.destroy();
      response.send("x");
    });
    expect((await new Browser(await serve(app)).get("/")).status).toBe(200);
    await expect(ended).rejects.toThrow("cut");
    await settled();
    expect(rejections).toEqual([]);
    await expect(store.destroy("id")).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  });

  it("have types for both, and those of express-session's callbacks stay", () => {
    type Done = (error: unknown) => void;
    expectTypeOf((one: Session) => one.save()).returns.toEqualTypeOf<Promise<void>>();
    expectTypeOf((one: Session) => one.reload()).returns.toEqualTypeOf<Promise<void>>();
    expectTypeOf((one: Session) => one.regenerate()).returns.toEqualTypeOf<Promise<void>>();
    expectTypeOf((one: Session) => one.destroy()).returns.toEqualTypeOf<Promise<void>>();
    expectTypeOf((one: Session, done: Done) => one.save(done).touch()).returns.toEqualTypeOf<Session>();
    expectTypeOf((one: Session, done: Done) => one.reload(done).touch()).returns.toEqualTypeOf<Session>();
    expectTypeOf((one: Session, done: Done) => one.regenerate(done).touch()).returns.toEqualTypeOf<Session>();
    expectTypeOf((one: Session, done: Done) => one.destroy(done).touch()).returns.toEqualTypeOf<Session>();
  });
});
