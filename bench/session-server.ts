// One Express server with one session product, in a process of its own: its processor time is what the product costs.
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type RequestHandler } from "express";
import { answerParent } from "./asked-process.ts";
import type { Value } from "./peers/product.ts";
import { sessionProducts } from "./session-products.ts";
import { valueOf } from "./values.ts";

declare module "express-session" {
  interface SessionData {
    user: Value;
    views: number;
  }
}

export interface ServerOptions {
  readonly redisUrl: string;
  readonly prefix: string;
  /** Of a session as it is stored. */
  readonly sessionBytes: number;
}

/** What a record holds beside the user: the cookie, and how often something was viewed. */
const otherBytes = 100;

let opened: { readonly server: Server; readonly close: () => Promise<void> } | undefined;

const answers = {
  /** @returns the port */
  open: async ({ redisUrl, prefix, sessionBytes }: ServerOptions): Promise<number> => {
    const product = sessionProducts.find(({ name }) => name === process.argv[2]);
    if (product === undefined) throw new Error(`There is no product named ${process.argv[2]}.`);
    const { middleware, close } = await product.open(redisUrl, prefix);
    const server = appWith(middleware, valueOf(sessionBytes - otherBytes)).listen(0, "127.0.0.1");
    // Connections stay open while others have their turns.
    server.keepAliveTimeout = 60_000;
    opened = { server, close };
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  },
  /** @returns the processor time of this process so far, user and system */
  cpuMs: async (): Promise<number> => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  close: async (): Promise<void> => {
    opened?.server.close();
    opened?.server.closeAllConnections();
    await opened?.close();
    opened = undefined;
  },
};

export type ServerAnswers = typeof answers;

answerParent(answers);

function appWith(middleware: RequestHandler, user: Value) {
  const app = express();
  app.use(middleware);
  app.get("/sign-in", ({ session }, response) => {
    session.user = user;
    session.views = 0;
    response.json({ name: session.user.name, views: session.views });
  });
  app.get("/read", ({ session }, response) => {
    response.json({ name: session.user?.name, views: session.views ?? 0 });
  });
  app.get("/change", ({ session }, response) => {
    session.views = (session.views ?? 0) + 1;
    response.json({ name: session.user?.name, views: session.views });
  });
  app.get("/ignore", (_request, response) => {
    response.json({ name: "Nobody looked", views: 0 });
  });
  return app;
}
