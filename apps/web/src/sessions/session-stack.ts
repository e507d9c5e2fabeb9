import { session, RedisStore } from "@lockstep/session-store";
import { RedisStore as ConnectRedis } from "connect-redis";
import type { RequestHandler } from "express";
import expressSession from "express-session";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import { sessionsUnavailable } from "./sessions-unavailable.ts";

const dayMs = 24 * 60 * 60 * 1_000;

/** The session cookie, as it is set and as it is cleared. */
export const sessionCookie = { name: "lockstep.sid", httpOnly: true, sameSite: "lax", path: "/" } as const;

/**
 * The ladder: the same sessions on three stacks, chosen by SESSION_STACK. No handler knows which one it runs on.
 * A request whose session cannot be loaded is answered with 503 on each of them.
 */
export function sessionStack({ stack, client, secrets }: StackOptions): RequestHandler {
  const load = chooseStack({ stack, client, secrets });
  return (req, res, next) => {
    const loaded = (error?: unknown) => {
      // express-session goes on without `req.session` while its store reports that it is disconnected.
      const hasSession = (req as Partial<typeof req>).session !== undefined;
      if (error == null && hasSession) next();
      else next(sessionsUnavailable(error));
    };
    return load(req, res, loaded);
  };
}

interface StackOptions {
  readonly stack: Config["sessionStack"];
  readonly client: Redis;
  readonly secrets: string[];
}

function chooseStack({ stack, client, secrets }: StackOptions): RequestHandler {
  const { name, ...cookie } = sessionCookie;
  const options = {
    name,
    secret: secrets,
    cookie: { ...cookie, secure: "auto", maxAge: dayMs },
    resave: false,
    saveUninitialized: false,
  } as const;
  switch (stack) {
    case "connect-redis":
      return expressSession({ ...options, store: new ConnectRedis({ client }) });
    case "store":
      return expressSession({ ...options, store: new RedisStore({ client }) });
    case "middleware":
      return session({ ...options, client });
  }
}
