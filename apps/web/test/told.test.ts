import { createHash, createHmac, randomUUID } from "node:crypto";
import { createSessions } from "@lockstep/session-store";
import request from "supertest";
import { afterEach, beforeEach, describe, expect, inject, test, vi } from "vitest";
import { createApp } from "../src/app.ts";
import { openCache, openStateCache } from "../src/cache/open-cache.ts";
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/database/connection.ts";
import { openProfileViews } from "../src/profiles/profile-views.ts";
import { openRedis } from "../src/redis/connection.ts";

const secret = "told-test";
const sessionCookie = { originalMaxAge: 60_000, httpOnly: true, path: "/", sameSite: "lax" };

let server: ReturnType<typeof start>;
beforeEach(async () => {
  server = start();
  await new Promise((resolve) => server.stateRedis.once("ready", resolve));
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const cache of server.caches) cache.close();
  server.stateRedis.disconnect();
  await server.database.destroy();
});

function start() {
  const config = readConfig({
    SERVER_NAME: "web-1",
    PORT: "0",
    DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
    STATE_REDIS_URL: inject("redisUrl"),
    CACHE_URL: inject("redisUrl"),
    SESSION_SECRET: secret,
  });
  const stateRedis = openRedis("state", config.stateRedis, () => undefined);
  const cache = openCache({ client: stateRedis }, () => undefined);
  const database = openDatabase({ url: config.databaseUrl, poolSize: 1 });
  const stateCache = openStateCache({ client: stateRedis }, () => undefined);
  const views = openProfileViews({ database, stateCache, report: () => undefined });
  const app = createApp(config, { stateRedis, cache, near: {}, database, views, isStopping: () => false });
  return { app, stateRedis, caches: [cache, stateCache], database };
}

/** A signed-in session with these contents, and the cookie that names it. */
async function session(contents: { cart: string[]; filler?: string }) {
  const id = randomUUID();
  const sessions = createSessions({ client: server.stateRedis });
  const account = { userId: "1", username: "alice", preferences: {} };
  await sessions.commit(sessions.born(id), { cookie: sessionCookie, ...account, ...contents });
  const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
  const key = `sess:h:${createHash("sha256").update(id).digest("base64url")}`;
  return { cookie: `lockstep.sid=${encodeURIComponent(`s:${id}.${signature}`)}`, key };
}

describe("a change that could not be stored", () => {
  test("is an error that says what to do, and not shown as if it were", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { cookie } = await session({ cart: [], filler: "x".repeat(65_200) });
    const item = "a fountain pen".padEnd(80, "!");

    const json = await request(server.app).post("/api/cart").set("Cookie", cookie).send({ item });
    expect(json).toMatchObject({ status: 413, body: { error: { code: "session-full" } } });
    expect(json.headers).toMatchObject({ "x-served-by": "web-1", "cache-control": "no-store" });
    const shouted = await request(server.app).post("/API/cart").set("Cookie", cookie).send({ item });
    expect(shouted).toMatchObject({ status: 413, body: { error: { code: "session-full" } } });

    const page = await request(server.app).post("/cart").set("Cookie", cookie).type("form").send({ item });
    expect(page).toMatchObject({ status: 413, text: expect.stringContaining("no room left") as string });
    expect(page.text).not.toContain("alice");
    const cart = await request(server.app).get("/api/cart").set("Cookie", cookie).expect(200);
    expect(cart.body).toEqual({ items: [] });
    // The client was told, so there is nothing to tell the operator.
    expect(logged).not.toHaveBeenCalled();
  });
});

describe("G10: what no request shows is told to the operator", () => {
  test("a record that can't be used", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { cookie, key } = await session({ cart: [] });
    await server.stateRedis.set(key, "{", "PX", 60_000);
    await request(server.app).get("/api/me").set("Cookie", cookie).expect(401);
    expect(warned.mock.calls).toEqual([["A session's record can't be used: not readable."]]);
  });

  test("a change that overruled another, by its path", async () => {
    const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { cookie } = await session({ cart: [] });
    const put = (value: number) =>
      request(server.app).put("/api/preferences/font").set("Cookie", cookie).send({ value }).expect(200);
    await expect
      .poll(async () => {
        await Promise.all([put(Math.random()), put(Math.random())]);
        return warned.mock.calls;
      })
      .toContainEqual(["A session's later change won at /preferences/font."]);
  });
});
