import type { NearCache } from "@lockstep/near-cache";
import { session, RedisStore, type SessionEvent } from "@lockstep/session-store";
import { RedisStore as ConnectRedis } from "connect-redis";
import type { Request, RequestHandler, Response } from "express";
import expressSession from "express-session";
import type { Config } from "../config.ts";
import type { RedisConnection } from "../redis/connection.ts";
import { logFailure } from "../requests/error-answer.ts";
import { sessionFailure } from "./session-failure.ts";

const dayMs = 24 * 60 * 60 * 1_000;

/** The session cookie, as it is set and as it is cleared. */
export const sessionCookie = { name: "lockstep.sid", httpOnly: true, sameSite: "lax", path: "/" } as const;

/**
 * The ladder: the same sessions on three stacks, chosen by SESSION_STACK. No handler knows which one it runs on.
 * A request whose session cannot be loaded is answered with 503 on each of them.
 */
export function sessionStack(options: StackOptions): RequestHandler {
  const load = chooseStack(options);
  return (req, res, next) => {
    const loaded = (error?: unknown) => {
      // express-session tells that a save failed by a second call, when the answer that promised it has left.
      if (res.headersSent) {
        logFailure(sessionFailure(error), req);
        return;
      }
      // express-session goes on without `req.session` while its store reports that it is disconnected. Only whether it
      // is there is asked: looking at it would make session() parse what no handler may need.
      if (error == null && "session" in req) next();
      else next(sessionFailure(error));
    };
    return load(req, res, loaded);
  };
}

interface StackOptions {
  readonly stack: Config["sessionStack"];
  readonly client: RedisConnection;
  /** This server's membership among those with near copies of sessions; connect-redis knows of none. */
  readonly near: NearCache | undefined;
  /** How many replicas must have a change before it is acknowledged; connect-redis waits for none. */
  readonly durability: Config["durability"];
  readonly secrets: string[];
  /** Answers in the handler's place if the session could not be stored; only `session()` finds out in time. */
  readonly onCommitError: (error: Error, req: Request, res: Response) => void;
}

function chooseStack({ stack, client, near, durability, secrets, onCommitError }: StackOptions): RequestHandler {
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
      return expressSession({ ...options, store: new RedisStore({ client, near, durability, onEvent }) });
    case "middleware":
      return session({ ...options, client, near, durability, onCommitError, onEvent });
  }
}

/** What no request shows is told to the operator: one line for each. Failures are logged with the request they belong to. */
function onEvent(event: SessionEvent): void {
  switch (event.type) {
    case "merged":
      // Merging is the daily work; only where a value was replaced has somebody's change been overruled.
      if (event.conflicts.length > 0) console.warn(`A session's later change won at ${event.conflicts.join(", ")}.`);
      return;
    case "gone":
      console.warn("A change to a session that had ended was dropped.");
      return;
    case "corrupt":
      console.warn(`A session's record can't be used: ${event.reason}.`);
      return;
    case "touch-failed":
      console.warn(`A session's use was not recorded: ${event.error.message}`);
      return;
    case "unsafe-redis":
      console.warn(event.error.message);
      return;
    case "durability-breaker":
      if (event.state === "open")
        console.warn("Too few replicas have what is written in time: sessions can be read only.");
      if (event.state === "closed") console.warn("Replicas have what is written again.");
      return;
    case "breaker":
      if (event.state !== "half-open")
        console.warn(`The sessions' Redis is ${event.state === "open" ? "away" : "back"}.`);
      return;
    default:
      return;
  }
}
