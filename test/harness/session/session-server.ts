// One server of a test: a real process, with routes for all that a person's browser makes an app do with a session.
import { createServer } from "node:http";
import { type DestroyForUserOptions, type Sessions, rotateSession } from "@lockstep/session-store";
import express, { type Request, type RequestHandler } from "express";
import { CommandGate } from "./command-gate.ts";
import { mountSessions } from "./mount-sessions.ts";
import { type ProgramSettings, settingsVariable } from "./server-settings.ts";

/** A session's fields but for its cookie. */
export type Fields = Record<string, unknown>;

/** What `POST /change` does to the session, in this order. A name may be a path: `profile/colour`. */
export interface Change {
  readonly set?: Readonly<Record<string, unknown>>;
  /** As `set`, with dates, which JSON can't carry. */
  readonly setDates?: Readonly<Record<string, string>>;
  readonly add?: Readonly<Record<string, number>>;
  readonly append?: Readonly<Record<string, unknown>>;
  readonly remove?: readonly string[];
}

const { port, redis, ...settings } = JSON.parse(process.env[settingsVariable] ?? "") as ProgramSettings;
const { handler, sessions } = await mountSessions(settings, redis);
const gate = new CommandGate();
const app = express();

app.post("/gate/:verb", async (req, res) => {
  const { verb } = req.params;
  if (verb === "close") gate.close();
  if (verb === "open") gate.open();
  res.json({ name: verb === "next" ? await gate.next() : undefined });
});

app.use(handler);
app.use((req, res, next) => {
  // A client that asks whether to send its body is told so now: its session is loaded, and its handler waits for the body.
  if (req.headers.expect === "100-continue") res.writeContinue();
  next();
});
app.use(express.json());

/** Where the app goes on without sessions it can still answer, but nobody can sign in. */
const needsSession: RequestHandler = (req, res, next) => {
  const held: Partial<Pick<Request, "session">> = req;
  if (held.session) next();
  else res.status(503).json({});
};

app.post("/sign-in", needsSession, async (req, res) => {
  await settled((done) => req.session.regenerate(done));
  Object.assign(req.session, req.body as Fields);
  res.json(fieldsOf(req));
});

app.get("/session", (req, res) => {
  const fields = fieldsOf(req);
  res.status("user" in fields ? 200 : 401).json(fields);
});

app.post("/change", (req, res) => {
  if (!("user" in fieldsOf(req))) {
    res.status(401).json({});
    return;
  }
  change(req.session as unknown as Fields, req.body as Change);
  res.json(fieldsOf(req));
});

app.post("/rotate", async (req, res) => {
  const { graceMs, ...fields } = req.body as { graceMs?: number };
  Object.assign(req.session, fields);
  await rotateSession(req, { graceMs });
  res.json(fieldsOf(req));
});

app.post("/sign-out", needsSession, async (req, res) => {
  await settled((done) => req.session.destroy(done));
  res.json({});
});

app.get("/users/:user/sessions", async (req, res) => {
  res.json(await engine().listForUser(req.params.user));
});

app.post("/users/:user/sign-out", async (req, res) => {
  res.json({ ended: await engine().destroyForUser(req.params.user, req.body as DestroyForUserOptions) });
});

app.post("/sign-out-elsewhere", async (req, res) => {
  const { user } = req.session as unknown as { user: string };
  res.json({ ended: await engine().destroyForUser(user, { except: req.sessionID }) });
});

const server = createServer(app);
server.on("checkContinue", app);
server.listen(port, "127.0.0.1", () => console.log(`session server listening on ${port}`));
process.once("SIGTERM", () => {
  // The clients of the tests keep no connection open, so this ends with the last answer.
  server.close(() => process.exit());
});

function engine(): Sessions {
  if (sessions === undefined) throw new Error("This stack has no engine to ask.");
  return sessions;
}

function change(session: Fields, { set, setDates, add, append, remove }: Change): void {
  for (const [path, value] of Object.entries(set ?? {})) at(session, path, (parent, name) => (parent[name] = value));
  for (const [path, date] of Object.entries(setDates ?? {})) {
    at(session, path, (parent, name) => (parent[name] = new Date(date)));
  }
  for (const [path, by] of Object.entries(add ?? {})) {
    at(session, path, (parent, name) => (parent[name] = Number(parent[name] ?? 0) + by));
  }
  for (const [path, item] of Object.entries(append ?? {})) {
    at(session, path, (parent, name) => ((parent[name] ??= []) as unknown[]).push(item));
  }
  for (const path of remove ?? []) at(session, path, (parent, name) => Reflect.deleteProperty(parent, name));
}

function at(session: Fields, path: string, perform: (parent: Fields, name: string) => void): void {
  const names = path.split("/");
  const last = names.pop() ?? "";
  perform(
    names.reduce((parent, name) => (parent[name] ??= {}) as Fields, session),
    last,
  );
}

function fieldsOf(req: Request): Fields {
  // connect-redis shows what Lockstep keeps under its own name.
  const { cookie: _cookie, __lockstep: _meta, ...fields } = { ...(req.session as unknown as Fields) };
  return fields;
}

function settled(work: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    work((error) => {
      if (error) reject(error instanceof Error ? error : new Error("It failed.", { cause: error }));
      else resolve();
    });
  });
}
