// One server of a test: a real process, with routes for all that a person's browser makes an app do with a session.
import { createServer } from "node:http";
import express, { type Request } from "express";
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
const app = express();
app.use(handler);
app.use((req, res, next) => {
  // A client that asks whether to send its body is told so now: its session is loaded, and its handler waits for the body.
  if (req.headers.expect === "100-continue") res.writeContinue();
  next();
});
app.use(express.json());

app.post("/sign-in", async (req, res) => {
  await settled((done) => req.session.regenerate(done));
  Object.assign(req.session, req.body as Fields);
  res.json(fieldsOf(req));
});

app.get("/session", (req, res) => {
  const fields = fieldsOf(req);
  res.status("user" in fields ? 200 : 401).json(fields);
});

app.post("/change", (req, res) => {
  if (!("user" in req.session)) {
    res.status(401).json({});
    return;
  }
  change(req.session as unknown as Fields, req.body as Change);
  res.json(fieldsOf(req));
});

app.post("/sign-out", async (req, res) => {
  await settled((done) => req.session.destroy(done));
  res.json({});
});

app.get("/counts", (_req, res) => {
  res.json(sessions?.counts() ?? {});
});

const server = createServer(app);
server.on("checkContinue", app);
server.listen(port, "127.0.0.1", () => console.log(`session server listening on ${port}`));
process.once("SIGTERM", () => {
  // The clients of the tests keep no connection open, so this ends with the last answer.
  server.close(() => process.exit());
});

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
