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

/** What no session layer on Redis can undercut: a record is fetched, and nobody looks at it. */
const oneRoundTrip: SessionProduct = {
  name: "no session, one EVALSHA",
  configuration: `${versionOf("express")}, ${versionOf("ioredis")}; a script that GETs one key, before the handler`,
  usesRedis: true,
  open: async (redisUrl, prefix) => {
    const { middleware, close } = await noSession.open(redisUrl, prefix);
    const client = new Redis(redisUrl, { protocol: 2 });
    const key = `${prefix}record`;
    await client.set(key, JSON.stringify(valueOf(500)));
    const sha1 = (await client.script(
      "LOAD",
      'return { redis.call("GET", KEYS[1]), redis.call("PTTL", KEYS[1]) }',
    )) as string;
    return {
      middleware: (request, response, next) => {
        client.evalsha(sha1, 1, key).then(() => middleware(request, response, next), next);
      },
      close: async () => {
        await close();
        await client.quit();
      },
    };
  },
};

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

/** The first is what the others are compared with. */
export const sessionProducts: readonly SessionProduct[] = [
  connectRedis,
  lockstep,
  lockstepRedisStore,
  memoryStore,
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
