import { once } from "node:events";
import { type Server as HttpServer, type IncomingMessage, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import express from "express";
import { Server as SocketIoServer } from "socket.io";
import { io } from "socket.io-client";
import { onTestFinished } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type Sessions, session } from "../../src/index.ts";
import {
  type SessionSockets,
  type SocketCloseReason,
  type SocketSession,
  sessionEnded,
  sessionSockets,
} from "../../src/session-sockets.ts";

export const secret = "socket test";

/** A library for WebSockets, as a server mounts it and as a client speaks it. */
interface SocketLibrary {
  /** @param greeting what each socket is told when it opens */
  mount(server: HttpServer, sockets: SessionSockets, closed: SocketCloseReason[]): void;
  /** @returns the socket, once the server has greeted it by its user's name */
  open(url: string, cookie: string): Promise<ClientSocket>;
}

/** The browser's end of a socket. */
interface ClientSocket {
  /** What the server said first: whose the session is. */
  readonly greeting: unknown;
  /** Why it was closed, in the library's terms. */
  readonly closed: Promise<unknown>;
  readonly isOpen: () => boolean;
}

const ws: SocketLibrary = {
  mount(server, sockets, closed) {
    const wss = new WebSocketServer({ noServer: true });
    const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const session = await sockets.authenticate(request).catch(() => undefined);
      if (!session) {
        socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
        return;
      }
      wss.handleUpgrade(request, socket, head, (ws) => {
        ws.send(String(session.fields.user));
        const release = sockets.bind(session, (reason) => {
          closed.push(reason);
          ws.close(sessionEnded, reason);
        });
        ws.on("close", release);
      });
    };
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head) => void upgrade(request, socket, head));
  },
  async open(url, cookie) {
    const socket = new WebSocket(url.replace("http", "ws"), { headers: { cookie } });
    onTestFinished(() => {
      socket.terminate();
    });
    const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve(`${code} ${String(reason)}`)));
    const [greeting] = (await once(socket, "message")) as [Buffer];
    return { greeting: String(greeting), closed, isOpen: () => socket.readyState === WebSocket.OPEN };
  },
};

const socketIo: SocketLibrary = {
  mount(server, sockets, closed) {
    const sio = new SocketIoServer<object, { greeting: (user: string) => void }, object, { session: SocketSession }>(
      server,
    );
    onTestFinished(() => sio.close());
    const admit = async (socket: { request: IncomingMessage; data: Partial<{ session: SocketSession }> }) => {
      const session = await sockets.authenticate(socket.request);
      if (!session) throw new Error("not signed in");
      socket.data.session = session;
    };
    sio.use((socket, next) => void admit(socket).then(() => next(), next));
    sio.on("connection", (socket) => {
      socket.emit("greeting", String(socket.data.session.fields.user));
      const release = sockets.bind(socket.data.session, (reason) => {
        closed.push(reason);
        socket.disconnect(true);
      });
      socket.on("disconnect", release);
    });
  },
  async open(url, cookie) {
    const socket = io(url, { extraHeaders: { cookie }, reconnection: false });
    onTestFinished(() => {
      socket.disconnect();
    });
    const closed = new Promise((resolve) => socket.on("disconnect", resolve));
    const greeting = await new Promise((resolve, reject) => {
      socket.on("greeting", resolve);
      socket.on("connect_error", reject);
    });
    return { greeting, closed, isOpen: () => socket.connected };
  },
};

export const libraries = { ws, "socket.io": socketIo };

/** A server with session() and sockets, gone when the test has finished. `/?user=ann` signs in, `/out` signs out. */
export async function startSocketServer(library: SocketLibrary, sessions: Sessions, keepAliveMs?: number) {
  const app = express();
  app.use(session({ sessions, secret }));
  app.get("/out", (req, res, next) => {
    req.session.destroy((error: unknown) => (error ? next(error) : res.send("out")));
  });
  app.get("/", (req, res) => {
    Object.assign(req.session, req.query);
    res.send("in");
  });
  const server = createServer(app);
  const sockets = sessionSockets({ sessions, secret, keepAliveMs });
  const closed: SocketCloseReason[] = [];
  library.mount(server, sockets, closed);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    sockets.close();
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, closed };
}
