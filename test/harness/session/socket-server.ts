// One server of a test whose sessions open WebSockets: a real process, with ws under /ws and socket.io beside it.
import { type IncomingMessage, createServer } from "node:http";
import type { Duplex } from "node:stream";
import { type SocketSession, sessionEnded, sessionSockets } from "@lockstep/session-store/sockets";
import express from "express";
import { Server as SocketIoServer } from "socket.io";
import { WebSocketServer } from "ws";
import { sessionCookie } from "../client.ts";
import { sessionSecret } from "../stack.ts";
import { mountSessions } from "./mount-sessions.ts";
import { type ProgramSettings, settingsVariable } from "./server-settings.ts";

const { port, redis, ...settings } = JSON.parse(process.env[settingsVariable] ?? "") as ProgramSettings;
const { handler, sessions } = await mountSessions(settings, redis);
if (!sessions) throw new Error("Sockets need an engine.");
// So long that only events close a socket in time.
const sockets = sessionSockets({ sessions, secret: sessionSecret, name: sessionCookie, keepAliveMs: 3_600_000 });

const app = express();
app.use(handler);
app.use(express.json());
app.post("/sign-in", async (req, res) => {
  await req.session.regenerate();
  Object.assign(req.session, req.body as object);
  res.json({});
});
app.post("/sign-out", async (req, res) => {
  await req.session.destroy();
  res.json({});
});
app.post("/sign-out-everywhere", async (req, res) => {
  res.json({ ended: await sessions.destroyForUser((req.session as unknown as { user: string }).user) });
});

const server = createServer(app);

const wss = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  if (request.url === "/ws") void upgrade(request, socket, head);
});
async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const session = await sockets.authenticate(request).catch(() => undefined);
  if (!session) {
    socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    return;
  }
  wss.handleUpgrade(request, socket, head, (ws) => {
    const release = sockets.bind(session, (reason) => {
      ws.close(sessionEnded, reason);
    });
    ws.on("close", release);
    ws.send(String(session.fields.user));
  });
}

const io = new SocketIoServer<object, { user: (name: string) => void }, object, { session: SocketSession }>(server, {
  // Those of ws are none of its business, however long they take.
  destroyUpgrade: false,
});
io.use((socket, next) => {
  sockets.authenticate(socket.request).then((session) => {
    if (session) socket.data.session = session;
    next(session ? undefined : new Error("not signed in"));
  }, next);
});
io.on("connection", (socket) => {
  const { session } = socket.data;
  const release = sockets.bind(session, () => {
    socket.disconnect(true);
  });
  socket.on("disconnect", release);
  socket.emit("user", String(session.fields.user));
});

server.listen(port, "127.0.0.1", () => console.log(`socket server listening on ${port}`));
process.once("SIGTERM", () => process.exit());
