import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express, { type RequestHandler } from "express";
import expressSession from "express-session";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { RedisStore, type SessionsOptions, createSessions, session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { uniquePrefix } from "./harness/redis.ts";

/** A Redis that can be stopped and started again, with what it held. */
async function stoppableRedis() {
  const directory = await mkdtemp(join(tmpdir(), "lockstep-unavailable-"));
  const port = await freePort();
  const start = () => startRedis({ role: "state", port, directory, persistent: true });
  let redis = await start();
  const client = new Redis(port, "127.0.0.1", {
    protocol: 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 50,
  });
  client.on("error", () => undefined);
  onTestFinished(async () => {
    client.disconnect();
    await redis.stop();
    await rm(directory, { recursive: true, force: true });
  });
  await once(client, "ready");
  return {
    options: { client, prefix: uniquePrefix() } satisfies SessionsOptions,
    stop: async () => {
      const closed = once(client, "close");
      await redis.stop();
      await closed;
    },
    restart: async () => {
      redis = await start();
    },
  };
}

async function serveWith(middleware: RequestHandler): Promise<Browser> {
  const app = express();
  app.use(middleware);
  app.get("/", (request, response) => {
    const { session: one } = request as { session?: { n?: number } };
    if (one) one.n = (one.n ?? 0) + 1;
    response.json(one ? one.n : "anonymous");
  });
  return new Browser(await serve(app));
}

const anonymous = { status: 200, text: '"anonymous"', cookies: [] };

describe('onUnavailable: "anonymous"', () => {
  it("lets a request go on without its session, its cookie untouched, and with it once Redis is back", async () => {
    const redis = await stoppableRedis();
    const sessions = createSessions(redis.options);
    onTestFinished(() => sessions.close());
    const browser = await serveWith(session({ sessions, secret: "s", onUnavailable: "anonymous" }));
    expect(await browser.json("/")).toBe(1);
    const { cookie } = browser;
    await redis.stop();
    // From the first request on, before anything is known of Redis, and after that.
    for (let each = 0; each < 8; each += 1) expect(await browser.get("/")).toMatchObject(anonymous);
    browser.cookie = "";
    expect(await browser.get("/")).toMatchObject(anonymous);
    browser.cookie = cookie;
    await redis.restart();
    await vi.waitFor(async () => expect(await browser.json("/")).toBe(2), { timeout: 10_000 });
    expect(browser.cookie).toBe(cookie);
  });

  it("refuses an answer whose session can't be stored all the same", async () => {
    const redis = await stoppableRedis();
    const browser = await serveWith(session({ ...redis.options, secret: "s", onUnavailable: "anonymous" }));
    await redis.stop();
    expect(await browser.get("/")).toMatchObject({ status: 503, cookies: [] });
  });

  it("passes on every other failure to load a session", async () => {
    const redis = await stoppableRedis();
    const sessions = createSessions(redis.options);
    vi.spyOn(sessions, "load").mockRejectedValue(new Error("broken"));
    onTestFinished(() => sessions.close());
    const browser = await serveWith(session({ sessions, secret: "s", onUnavailable: "anonymous" }));
    await browser.get("/");
    expect((await browser.get("/")).status).toBe(500);
  });

  it("makes the Store tell express-session, which does the same", async () => {
    const redis = await stoppableRedis();
    const store = new RedisStore({ ...redis.options, onUnavailable: "anonymous" });
    const browser = await serveWith(expressSession({ store, secret: "s", resave: false, saveUninitialized: false }));
    expect(await browser.json("/")).toBe(1);
    const { cookie } = browser;
    const told = once(store, "disconnect");
    await redis.stop();
    await vi.waitFor(async () => expect(await browser.get("/")).toMatchObject(anonymous), { timeout: 10_000 });
    await told;
    const back = once(store, "connect");
    await redis.restart();
    await back;
    expect(await browser.json("/")).toBe(2);
    expect(browser.cookie).toBe(cookie);
  });
});

describe('onUnavailable: "reject", the default', () => {
  it("fails each request that has a session, and no other", async () => {
    const redis = await stoppableRedis();
    const store = new RedisStore(redis.options);
    const told = vi.fn();
    store.on("disconnect", told);
    const plain = expressSession({ store, secret: "s", resave: false, saveUninitialized: false });
    for (const middleware of [session({ ...redis.options, secret: "s", onUnavailable: "reject" }), plain]) {
      const browser = await serveWith(middleware);
      await browser.get("/");
      const { cookie } = browser;
      await redis.stop();
      for (let each = 0; each < 8; each += 1) {
        expect(await browser.get("/")).toMatchObject({ status: 503, cookies: [] });
      }
      await redis.restart();
      await vi.waitFor(async () => expect(await browser.get("/")).toMatchObject({ status: 200 }), { timeout: 10_000 });
      expect(browser.cookie).toBe(cookie);
    }
    expect(told).not.toHaveBeenCalled();
  });

  it("is one of two", async () => {
    const { options } = await stoppableRedis();
    const onUnavailable = "guess" as "reject";
    expect(() => session({ ...options, secret: "s", onUnavailable })).toThrow("onUnavailable");
    expect(() => new RedisStore({ ...options, onUnavailable })).toThrow("onUnavailable");
  });
});
