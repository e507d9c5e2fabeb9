import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import request from "supertest";
import { afterEach, describe, expect, test } from "vitest";
import { createApp } from "../src/app.ts";
import { openCache, openStateCache } from "../src/cache/open-cache.ts";
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/database/connection.ts";
import { openProfileViews } from "../src/profiles/profile-views.ts";
import { closeRedis, openRedis } from "../src/redis/connection.ts";

const secret = "outage-test";
const signature = createHmac("sha256", secret).update("someone").digest("base64").replace(/=+$/, "");
const cookie = `lockstep.sid=${encodeURIComponent(`s:someone.${signature}`)}`;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A port that takes connections and never says a word. */
async function silentPort(): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

function appWithPartsAt(port: number, sessionStack: string) {
  const config = readConfig({
    SERVER_NAME: "web-1",
    PORT: "0",
    DATABASE_URL: `postgres://127.0.0.1:${port}/lockstep`,
    STATE_REDIS_URL: `redis://127.0.0.1:${port}`,
    CACHE_URL: `redis://127.0.0.1:${port}`,
    SESSION_SECRET: secret,
    SESSION_STACK: sessionStack,
  });
  const reports: string[] = [];
  const stateRedis = openRedis("state", config.stateRedis, (message) => reports.push(message));
  const cache = openCache({ client: stateRedis }, (message) => reports.push(message));
  const database = openDatabase({ url: config.databaseUrl, poolSize: config.databasePoolSize });
  const stateCache = openStateCache({ client: stateRedis }, (message) => reports.push(message));
  const views = openProfileViews({ database, stateCache, report: (message) => reports.push(message) });
  cleanUps.unshift(() => {
    for (const each of [cache, stateCache]) each.close();
    closeRedis(stateRedis);
    return database.destroy();
  });
  return {
    app: createApp(config, { stateRedis, cache, near: {}, database, views, isStopping: () => false }),
    stateRedis,
    reports,
  };
}

describe.each([
  { how: "refuse connections", findPort: closedPort },
  { how: "do not answer", findPort: silentPort },
])("while Redis and the database $how", ({ findPort }) => {
  test("the server says so, and answers whatever needs neither", async () => {
    const { app } = appWithPartsAt(await findPort(), "middleware");
    await request(app).get("/livez").expect(200);
    const readiness = await request(app).get("/readyz").expect(503);
    expect(readiness.body).toEqual({
      status: "not-ready",
      parts: { stateRedis: "down", database: "down", cache: "down" },
    });
    await request(app).get("/assets/lockstep.css").expect(200);
    await request(app)
      .get("/")
      .expect(200, /Session stack/);
  });

  test("the page of the cache says what it can, in bounded time", async () => {
    const { app } = appWithPartsAt(await findPort(), "middleware");
    await request(app)
      .get("/cache")
      .expect(200, /Redis does not say now what waits/);
    const answer = await request(app).get("/api/cache").expect(200);
    expect(answer.body).toMatchObject({ server: "web-1", views: { accepted: 0, backlog: null } });
  });

  test("signing in is a 503 in bounded time", async () => {
    const { app } = appWithPartsAt(await findPort(), "middleware");
    const answer = await request(app)
      .post("/api/sign-in")
      .send({ username: "alice", password: "anything" })
      .expect(503);
    expect(answer.body).toMatchObject({ error: { code: "database-unavailable" } });
  });

  test.for(["connect-redis", "store", "middleware"])(
    "a request with a session is a 503 on the stack %s",
    async (stack) => {
      const { app } = appWithPartsAt(await findPort(), stack);
      const json = await request(app).get("/api/cart").set("Cookie", cookie).expect(503);
      expect(json.body).toMatchObject({ error: { code: "sessions-unavailable" } });
      expect(json.headers).toMatchObject({ "retry-after": "1", "x-served-by": "web-1", "cache-control": "no-store" });
      const page = await request(app)
        .get("/cart")
        .set("Cookie", cookie)
        .expect(503, /Sessions cannot be reached/);
      // A good cookie is never replaced because Redis could not be asked.
      expect(String(page.headers["set-cookie"])).not.toContain("lockstep.sid");
    },
  );
});

test("a cache Redis that fails again and again is reported", async () => {
  const { app, reports } = appWithPartsAt(await closedPort(), "middleware");
  for (let visit = 0; visit < 6; visit += 1) await request(app).get(`/people/${randomUUID()}`).expect(503);
  expect(reports).toContain("The cache Redis does not answer: the database is asked instead.");
});

test("a Redis that cannot be reached is reported once, however often it is tried", async () => {
  const { stateRedis, reports } = appWithPartsAt(await closedPort(), "middleware");
  let attempts = 0;
  await new Promise<void>((resolve) => {
    stateRedis.on("reconnecting", () => {
      attempts += 1;
      if (attempts === 3) resolve();
    });
  });
  expect(reports).toEqual([expect.stringContaining("The state Redis cannot be reached")]);
});
