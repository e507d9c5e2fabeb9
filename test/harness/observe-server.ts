// One server of a test: stock express-session on an observed store, with the routes of the reference app that the
// anomalies need.
import { RedisStore, observe, observedCounts } from "@lockstep/session-store";
import { RedisStore as ConnectRedis } from "connect-redis";
import express, { type Request, type RequestHandler } from "express";
import expressSession from "express-session";
import { Redis } from "ioredis";
import { sessionCookie } from "./client.ts";
import { sessionSecret } from "./stack.ts";

interface Fields {
  user?: string;
  cart: string[];
  preferences: Record<string, unknown>;
}

const { PORT = "", REDIS_PORT = "", STORE = "" } = process.env;
const client = new Redis(Number(REDIS_PORT), { protocol: 2 });
const store = observe(STORE === "connect-redis" ? new ConnectRedis({ client }) : new RedisStore({ client }));
const app = express();
app.use(expressSession({ store, name: sessionCookie, secret: sessionSecret, resave: false, saveUninitialized: false }));
app.use(express.json());

app.post("/api/sign-in", (req, res, next) => {
  req.session.regenerate((error: unknown) => {
    Object.assign(req.session, { user: "alice", cart: [], preferences: {} } satisfies Fields);
    if (error) next(error);
    else res.json({});
  });
});

app.get("/api/losses", (_req, res) => {
  res.json(observedCounts(store));
});

const signedIn: RequestHandler = (req, res, next) => {
  if (fieldsOf(req).user === undefined) res.status(401).json({});
  else next();
};
app.use(signedIn);

app.get("/api/me", (_req, res) => {
  res.json({});
});

app.post("/api/sign-out", (req, res, next) => {
  req.session.destroy((error: unknown) => {
    if (error) next(error);
    else res.json({});
  });
});

app.get("/api/cart", (req, res) => {
  res.json({ items: fieldsOf(req).cart });
});

app.post("/api/cart", (req, res) => {
  fieldsOf(req).cart.push((req.body as { item: string }).item);
  res.json({});
});

app.get("/api/preferences", (req, res) => {
  res.json(fieldsOf(req).preferences);
});

app.put("/api/preferences/:key", (req, res) => {
  fieldsOf(req).preferences[req.params.key] = (req.body as { value: unknown }).value;
  res.json({});
});

app.listen(Number(PORT), "127.0.0.1", () => console.log(`observe server listening on ${PORT}`));

function fieldsOf(req: Request): Fields {
  return req.session as unknown as Fields;
}
