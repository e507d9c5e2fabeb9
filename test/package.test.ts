import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { freePort, runCommand, startProcess } from "../infra/local/processes.mjs";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";
import { repository } from "./harness/stack.ts";

// What people install: the packed tarball alone, in an empty project beside Express, express-session and ioredis.

const esm = `
import express from "express";
import { Redis } from "ioredis";
import { session } from "@lockstep/session-store";

const client = new Redis(process.env.REDIS_URL, { enableOfflineQueue: false });
const app = express();
app.use(session({ client, secret: "a secret", cookie: { maxAge: 60_000 } }));
app.get("/", (req, res) => {
  req.session.visits = (req.session.visits ?? 0) + 1;
  res.json(req.session.visits);
});
app.get("/leave", async (req, res) => {
  await req.session.destroy();
  res.json("left");
});
client.once("ready", () => app.listen(process.env.PORT, "127.0.0.1", () => console.log("listening")));
`;

/** The same app, by `require`; and on stock express-session, whose sessions are the same. */
const commonJs = {
  session: esm.replace(/import (.+) from (".+");/g, "const $1 = require($2);").trimStart(),
  store: esm
    .replace(/import (.+) from (".+");/g, "const $1 = require($2);")
    .replace("{ session }", "{ RedisStore }")
    .replace("const app", 'const session = require("express-session");\nconst app')
    .replace("client, secret", "store: new RedisStore({ client }), resave: false, saveUninitialized: false, secret")
    .replace("await req.session.destroy()", "await new Promise((resolve) => req.session.destroy(resolve))")
    .trimStart(),
};

/** TypeScript that uses what the package adds to express-session's types. */
const typed = `
import express from "express";
import { Redis } from "ioredis";
import { RedisStore, createSessions, rotateSession, session } from "@lockstep/session-store";

declare module "express-session" {
  interface SessionData {
    visits: number;
  }
}

const client = new Redis({ lazyConnect: true });
const app = express();
app.use(session({ sessions: createSessions({ client, prefix: "app:" }), secret: ["new", "old"] }));
app.get("/", async (req, res) => {
  const visits: number | undefined = req.session.visits;
  await req.session.regenerate();
  await rotateSession(req);
  req.session.save((error: unknown) => void res.json([visits, String(error)])).touch();
});
export const store: RedisStore = new RedisStore({ client, ttl: 60 });
`;

/** TypeScript that uses what the package's other entries give: it is checked, compiled and run, as a module of either kind. */
const entries = `
import { createServer } from "node:http";
import express from "express";
import { Registry } from "prom-client";
import { WebSocketServer } from "ws";
import { createSessions, session } from "@lockstep/session-store";
import { memoryRedis } from "@lockstep/session-store/memory";
import { registerSessionMetrics } from "@lockstep/session-store/prometheus";
import { type SocketCloseReason, sessionEnded, sessionSockets } from "@lockstep/session-store/sockets";

declare module "express-session" {
  interface SessionData {
    user: string;
  }
}

const secret = "a secret";
const sessions = createSessions({ client: memoryRedis(), userOf: (fields) => fields.user as string | undefined });
const registry = new Registry();
registerSessionMetrics(registry, sessions);

const app = express();
app.use(session({ sessions, secret }));
app.get("/sign-in", (req, res) => {
  req.session.user = "ann";
  res.json("in");
});
app.get("/sign-out", async (req, res) => {
  await req.session.destroy();
  res.json("out");
});
app.get("/metrics", async (_req, res) => {
  res.type("text/plain").send(await registry.metrics());
});

const server = createServer(app);
const wss = new WebSocketServer({ noServer: true });
const sockets = sessionSockets({ sessions, secret });
server.on("upgrade", async (request, socket, head) => {
  const session = await sockets.authenticate(request).catch(() => undefined);
  if (!session) return socket.end("HTTP/1.1 401 Unauthorized\\r\\n\\r\\n");
  wss.handleUpgrade(request, socket, head, (ws) => {
    const release = sockets.bind(session, (reason: SocketCloseReason) => ws.close(sessionEnded, reason));
    ws.on("close", release);
    ws.send(String(session.fields.user));
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
`;

/** All three packages, each of which brings types of its own for what they have in common. */
const together = `
import { createCache } from "@lockstep/cache";
import { type NearCache, joinNearCache } from "@lockstep/near-cache";
import { registerNearMetrics } from "@lockstep/near-cache/prometheus";
import { session } from "@lockstep/session-store";
import express from "express";
import { Redis } from "ioredis";
import { Registry } from "prom-client";

declare module "express-session" {
  interface SessionData {
    visits: number;
  }
}

const client = new Redis(String(process.env.REDIS_URL), { enableOfflineQueue: false });
client.once("ready", async () => {
  const near: NearCache = await joinNearCache({ client, group: "package" });
  const registry = new Registry();
  registerNearMetrics(registry, [near]);
  const cache = createCache({ client, near, name: "package" });
  const numbers = cache.collection<number>("number", {
    load: async () => Number(await client.get("source")),
    ttlMs: 60_000,
  });
  const app = express();
  app.use(session({ client, near, secret: "a secret" }));
  app.get("/", async (req, res) => {
    req.session.visits = (req.session.visits ?? 0) + 1;
    res.json([req.session.visits, await numbers.get("a")]);
  });
  app.get("/raise", async (_req, res) => {
    res.json(await numbers.update("a", () => client.incr("source")));
  });
  app.get("/metrics", async (_req, res) => {
    res.type("text/plain").send(await registry.metrics());
  });
  app.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
});
`;

let redis: SessionRedis;
let directory: string;
let tarball: string;
/** Of the packages that go with it. */
let others: string[];

beforeAll(async () => {
  redis = await startSessionRedis();
  directory = await mkdtemp(join(tmpdir(), "lockstep-package-"));
  // Built already, as every test here needs it: packing must not build again under a running server.
  const workspaces = ["session-store", "cache", "near-cache"].flatMap((name) => ["--workspace", `packages/${name}`]);
  const args = ["pack", "--ignore-scripts", ...workspaces, "--pack-destination", directory];
  await runCommand({ name: "npm pack", command: "npm", args, cwd: repository });
  const names = await readdir(directory);
  const isTarball = (name: string) => name.includes("session-store");
  tarball = join(directory, names.find(isTarball) ?? "");
  others = names.filter((name) => !isTarball(name)).map((name) => join(directory, name));
});

afterAll(async () => {
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
});

/** What the apps here use beside Express. */
const beside = ["express-session", "ioredis", "prom-client", "ws", "@types/node@20", "@types/ws"];

/** An empty project with the tarball and a line of Express in it, and whatever else is told. */
async function install(express: string, name = express, more: readonly string[] = []): Promise<string> {
  const project = join(directory, name);
  await mkdir(project);
  await writeFile(join(project, "package.json"), "{}");
  await runCommand({
    name: "npm install",
    command: "npm",
    args: ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball, express, ...more, ...beside],
    cwd: project,
  });
  return project;
}

/** Checks TypeScript of the project, the types of what it imports with it. */
async function compile(project: string, file: string, source: string, ...flags: string[]): Promise<void> {
  await writeFile(join(project, file), source);
  const strict = "--strict --module nodenext --target es2023 --types node --skipLibCheck false";
  await runCommand({
    name: "tsc",
    command: join(repository, "node_modules/.bin/tsc"),
    args: [...strict.split(" "), ...flags, file],
    cwd: project,
  });
}

/** Runs an app of the project until the test has finished. */
async function run(project: string, file: string, source?: string): Promise<string> {
  if (source !== undefined) await writeFile(join(project, file), source);
  const port = await freePort();
  const app = await startProcess({
    name: file,
    command: process.execPath,
    args: [file],
    cwd: project,
    env: { PORT: `${port}`, REDIS_URL: `redis://127.0.0.1:${redis.port}` },
    ready: /listening/,
  });
  onTestFinished(() => app.stop());
  return `http://127.0.0.1:${port}`;
}

describe.each(["express@5", "express@4"])("the packed tarball beside %s", (express) => {
  let project: string;
  beforeAll(async () => {
    project = await install(express);
  }, 180_000);

  test("serves by import and by require, as session() and as RedisStore, the same sessions", async () => {
    const servers = [
      await run(project, "app.mjs", esm),
      await run(project, "app.cjs", commonJs.session),
      await run(project, "store.cjs", commonJs.store),
    ];
    let cookie = "";
    const get = async (url: string): Promise<unknown> => {
      const response = await fetch(url, { headers: { cookie } });
      cookie = response.headers.getSetCookie()[0]?.split(";", 1)[0] ?? cookie;
      return response.json();
    };
    for (const [at, server] of [...servers, ...servers].entries()) expect(await get(server)).toBe(at + 1);
    const signedIn = cookie;
    expect(await get(`${servers[0] ?? ""}/leave`)).toBe("left");
    for (const server of servers) {
      cookie = signedIn;
      expect(await get(server)).toBe(1);
    }
  });

  test("brings its types, and adds to those of express-session", async () => {
    await compile(project, "app.mts", typed, "--noEmit");
  });

  test.each(["mts", "cts"])(
    "its other entries work from TypeScript: in memory, with metrics, with sockets: .%s",
    async (kind) => {
      await compile(project, `entries.${kind}`, entries);
      const server = await run(project, `entries.${kind.replace("t", "j")}`);
      const signedIn = await fetch(`${server}/sign-in`);
      const cookie = signedIn.headers.getSetCookie()[0]?.split(";", 1)[0] ?? "";
      const socket = new WebSocket(server.replace("http", "ws"), { headers: { cookie } });
      onTestFinished(() => {
        socket.terminate();
      });
      const [greeting] = (await once(socket, "message")) as [Buffer];
      expect(String(greeting)).toBe("ann");
      const closed = once(socket, "close");
      await fetch(`${server}/sign-out`, { headers: { cookie } });
      expect((await closed)[0]).toBe(4401); // sessionEnded
      const metrics = await (await fetch(`${server}/metrics`)).text();
      expect(metrics).toContain('lockstep_session_events_total{event="destroyed"} 1');
    },
  );
});

test(
  "the three packed tarballs go together: near copies under a cache and sessions, on two servers",
  { timeout: 240_000 },
  async () => {
    const project = await install("express@5", "together", others);
    await compile(project, "together.mts", together);
    const servers = [await run(project, "together.mjs"), await run(project, "together.mjs")];
    let cookie = "";
    const get = async (url: string): Promise<unknown> => {
      const response = await fetch(url, { headers: { cookie } });
      cookie = response.headers.getSetCookie()[0]?.split(";", 1)[0] ?? cookie;
      return response.json();
    };
    for (let round = 1; round <= 4; round += 1) {
      expect(await get(`${servers[round % 2] ?? ""}/raise`)).toBe(round);
      for (const [at, server] of servers.entries())
        expect(await get(`${server}/`)).toEqual([2 * round - 1 + at, round]);
    }
    const metrics = await (await fetch(`${servers[0] ?? ""}/metrics`)).text();
    expect(metrics).toContain('lockstep_near_members{group="package"} 2');
  },
);
