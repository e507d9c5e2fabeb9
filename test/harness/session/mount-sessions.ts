import { once } from "node:events";
import { RedisStore, type Sessions, type SessionsOptions, createSessions, session } from "@lockstep/session-store";
import { RedisStore as ConnectRedis } from "connect-redis";
import type { RequestHandler } from "express";
import expressSession from "express-session";
import { Cluster, Redis } from "ioredis";
import { sessionCookie } from "../client.ts";
import { sessionSecret } from "../stack.ts";
import type { RedisPorts, ServerSettings } from "./server-settings.ts";

interface Mounted {
  readonly handler: RequestHandler;
  /** The engine, where the stack has one that an app can reach. */
  readonly sessions: Sessions | undefined;
}

/** The session stack of a server, as its package's README sets it up. */
export async function mountSessions(settings: ServerSettings, ports: RedisPorts): Promise<Mounted> {
  const { stack, engine = {}, maxAgeMs, rolling = false, onUnavailable } = settings;
  const common = {
    name: sessionCookie,
    secret: sessionSecret,
    cookie: { httpOnly: true, ...(maxAgeMs !== undefined && { maxAge: maxAgeMs }) },
    rolling,
    resave: false,
    saveUninitialized: false,
  };
  if (stack === "middleware") {
    const sessions = createSessions({ ...engine, ...indexOf(settings), client: await connect(ports) });
    return { handler: session({ ...common, sessions, onUnavailable }), sessions };
  }
  return { handler: expressSession({ ...common, store: await storeOf(settings, ports) }), sessions: undefined };
}

async function storeOf(settings: ServerSettings, ports: RedisPorts): Promise<expressSession.Store> {
  const { stack, engine = {}, onUnavailable } = settings;
  const { idleMs, ...others } = engine;
  const ttl = typeof idleMs === "number" ? { ttl: idleMs / 1_000 } : {};
  if (stack === "store") {
    const client = await connect(ports);
    return new RedisStore({ ...others, ...ttl, ...indexOf(settings), onUnavailable, client });
  }
  const options = { ...ttl, ...(engine.prefix !== undefined && { prefix: engine.prefix }) };
  if (stack === "connect-redis") return new ConnectRedis({ ...options, client: await connect(ports) });
  // Only here, as it does not run on the Node of the other servers.
  const [{ RedisStore: ConnectRedis10 }, { createClient }] = await Promise.all([
    import("connect-redis-10"),
    import("redis"),
  ]);
  const client = createClient({ url: `redis://127.0.0.1:${String(ports)}` });
  client.on("error", ignore);
  await client.connect();
  return new ConnectRedis10({ ...options, client });
}

function indexOf({ userField }: ServerSettings): Pick<SessionsOptions, "userOf"> {
  return userField === undefined ? {} : { userOf: (fields) => fields[userField] as string | undefined };
}

/** Connected, as without its queue the client would refuse the first request's commands. */
async function connect(ports: RedisPorts): Promise<Redis | Cluster> {
  const options = { enableOfflineQueue: false };
  const client =
    typeof ports === "number"
      ? new Redis(ports, { ...options, protocol: 2 })
      : new Cluster(
          ports.map((port) => ({ host: "127.0.0.1", port })),
          options,
        );
  client.on("error", ignore);
  await once(client, "ready");
  return client;
}

/** A Redis that a test has taken away; both clients connect again by themselves. */
function ignore(): void {
  return;
}
