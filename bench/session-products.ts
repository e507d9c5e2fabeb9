import { joinNearCache } from "@lockstep/near-cache";
import { RedisStore as LockstepStore, session as lockstepSession } from "@lockstep/session-store";
import { RedisStore as ConnectRedisStore } from "connect-redis";
import type { RequestHandler } from "express";
import expressSession, { type SessionData, type Store } from "express-session";
import { Redis } from "ioredis";
import { installedVersion } from "./peers/installed-version.ts";
import { valueOf } from "./values.ts";

/** A way to have sessions in Express, at its best documented configuration. */
export interface SessionProduct {
  readonly name: string;
  /** What it is made of, in words: it is printed beside every figure. */
  readonly configuration: string;
  readonly usesRedis: boolean;
  /** Opens the middleware of one server. */
  open(redisUrl: string, prefix: string): Promise<{ middleware: RequestHandler; close: () => Promise<void> }>;
}

const secret = "the secret of the benchmark, as long as one should be";
const versionOf = (name: string) => `${name} ${installedVersion(name)}`;

/** What no session layer can undercut: handlers are given an object that is nobody's session. */
const noSession: SessionProduct = {
  name: "no session",
  configuration: versionOf("express"),
  usesRedis: false,
  open: async () => {
    const standIn = {} as SessionData;
    return {
      middleware: (request, _response, next) => {
        Object.assign(request, { session: standIn });
        next();
      },
      close: async () => undefined,
    };
  },
};

const getScript = 'return { redis.call("GET", KEYS[1]), redis.call("PTTL", KEYS[1]) }';
const setScript = 'return redis.call("SET", KEYS[1], ARGV[1], "PX", 86400000)';

/** What no session layer on Redis can undercut: a record is fetched, and nobody looks at it. */
const oneRoundTrip: SessionProduct = {
  name: "no session, one EVALSHA",
  configuration: `${versionOf("express")}, ${versionOf("ioredis")}; a script that GETs one key, before the handler`,
  usesRedis: true,
  open: async (redisUrl, prefix) => {
    const { middleware, close } = await noSession.open(redisUrl, prefix);
    const { client, load } = await oneRecord(redisUrl, prefix);
    return {
      middleware: (request, response, next) => {
        load().then(() => middleware(request, response, next), next);
      },
      close: async () => {
        await close();
        await client.quit();
      },
    };
  },
};

/** The least that could be called sessions, for one and the same user: read, given to the handler, and stored if it has changed. */
const oneRecordForAll: SessionProduct = {
  name: "no session, one record read and written",
  configuration:
    `${versionOf("express")}, ${versionOf("ioredis")}; as before, then JSON.parse, JSON.stringify when the response ends, and ` +
    "where that differs a script that SETs it, before it ends; no cookie, no checks",
  usesRedis: true,
  open: async (redisUrl, prefix) => {
    const { client, load, store } = await oneRecord(redisUrl, prefix);
    return {
      middleware: (request, response, next) => {
        load().then((text) => {
          const session = JSON.parse(text) as SessionData;
          Object.assign(request, { session });
          const end = response.end.bind(response) as (...args: unknown[]) => typeof response;
          const held = (...args: unknown[]) => {
            const now = JSON.stringify(session);
            if (now === text) return end(...args);
            store(now).then(() => end(...args), next);
            return response;
          };
          response.end = held as typeof response.end;
          next();
        }, next);
      },
      close: async () => void (await client.quit()),
    };
  },
};

/** One record in Redis, read and stored by scripts as sessions are. */
async function oneRecord(redisUrl: string, prefix: string) {
  const client = new Redis(redisUrl, { protocol: 2 });
  const key = `${prefix}record`;
  const cookie = { originalMaxAge: null, expires: null, httpOnly: true, path: "/" };
  await client.set(key, JSON.stringify({ cookie, user: valueOf(400), views: 0 }));
  const [get, set] = await Promise.all([getScript, setScript].map((text) => client.script("LOAD", text)));
  const load = async () => ((await client.evalsha(String(get), 1, key)) as [string])[0];
  const store = (text: string) => client.evalsha(String(set), 1, key, text);
  return { client, load, store };
}

const memoryStore: SessionProduct = {
  name: "express-session + MemoryStore",
  configuration: `${versionOf("express-session")}; resave and saveUninitialized false`,
  usesRedis: false,
  open: async () => ({ middleware: stockSession(new expressSession.MemoryStore()), close: async () => undefined }),
};

const connectRedis: SessionProduct = {
  name: "express-session + connect-redis",
  configuration: `${versionOf("express-session")}, ${versionOf("connect-redis")}, ${versionOf("ioredis")}; resave and saveUninitialized false`,
  usesRedis: true,
  open: (redisUrl, prefix) => onRedis(redisUrl, (client) => stockSession(new ConnectRedisStore({ client, prefix }))),
};

const lockstepRedisStore: SessionProduct = {
  name: "express-session + lockstep RedisStore",
  configuration: `${versionOf("express-session")}, ${versionOf("@lockstep/session-store")}, ${versionOf("ioredis")}; resave and saveUninitialized false`,
  usesRedis: true,
  open: (redisUrl, prefix) => onRedis(redisUrl, (client) => stockSession(new LockstepStore({ client, prefix }))),
};

const lockstep: SessionProduct = {
  name: "lockstep session()",
  configuration: `${versionOf("@lockstep/session-store")}, ${versionOf("ioredis")}; the defaults`,
  usesRedis: true,
  open: (redisUrl, prefix) => onRedis(redisUrl, (client) => lockstepSession({ client, prefix, secret })),
};

const lockstepNear: SessionProduct = {
  name: "lockstep session(), near copies",
  configuration: `${versionOf("@lockstep/session-store")}, ${versionOf("@lockstep/near-cache")}, ${versionOf("ioredis")}; the defaults, alone in its group`,
  usesRedis: true,
  open: async (redisUrl, prefix) => {
    const client = new Redis(redisUrl, { protocol: 2 });
    const near = await joinNearCache({ client, group: prefix });
    return {
      middleware: lockstepSession({ client, near, prefix, secret }),
      close: async () => {
        await near.close();
        await client.quit();
      },
    };
  },
};

/** The first is what the others are compared with. */
export const sessionProducts: readonly SessionProduct[] = [
  connectRedis,
  lockstep,
  lockstepNear,
  lockstepRedisStore,
  memoryStore,
  oneRecordForAll,
  oneRoundTrip,
  noSession,
];

function stockSession(store: Store): RequestHandler {
  return expressSession({ store, secret, resave: false, saveUninitialized: false });
}

async function onRedis(redisUrl: string, middlewareOn: (client: Redis) => RequestHandler) {
  const client = new Redis(redisUrl, { protocol: 2 });
  await new Promise((resolve) => client.once("ready", resolve));
  return { middleware: middlewareOn(client), close: async () => void (await client.quit()) };
}
