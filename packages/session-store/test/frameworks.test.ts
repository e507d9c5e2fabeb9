import { IncomingMessage, type RequestListener, type Server, ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type Express, type Request, type Response } from "express";
import stockSession, { MemoryStore } from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

/** Sessions of which none that is larger than this can be stored: an answer that is not held back shows. */
const maxBytes = 400;

function middleware(prefix = uniquePrefix()) {
  return session({ client, prefix, secret: "s", maxBytes, unset: "destroy" });
}

type Handler = (request: Request, response: Response) => void;

const store: Handler = (request, response) => {
  request.session.user = "ann";
  response.send(request.sessionID);
};
const tell: Handler = (request, response) => void response.json([request.sessionID, request.session.user ?? null]);
const refuse: Handler = (request, response) => {
  request.session.user = "x".repeat(maxBytes);
  response.send("stored");
};

/** Whether an app keeps sessions, and lets no answer overtake its session (S4). */
async function expectSessions(base: string): Promise<void> {
  const browser = new Browser(base);
  const id = (await browser.get("/store")).text;
  expect(await browser.json("/tell")).toEqual([id, "ann"]);
  expect(await browser.get("/refuse")).toMatchObject({ status: 500, cookies: [] });
  expect(await browser.json("/tell")).toEqual([id, "ann"]);
}

function routes(app: Express): Express {
  return app.get("/store", store).get("/tell", tell).get("/refuse", refuse);
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Node's own server, without a framework. */
function bare(prefix = uniquePrefix()): RequestListener {
  const use = middleware(prefix);
  const handlers: Record<string, Handler> = { "/store": store, "/tell": tell, "/refuse": refuse };
  return (request, response) => {
    const [asExpress, answer] = [request as Request, response as Response];
    answer.send = (body: string) => answer.end(body);
    answer.json = (body: unknown) => answer.end(JSON.stringify(body));
    use(asExpress, answer, (error: unknown) => {
      if (error) response.destroy(error as Error);
      else handlers[request.url ?? ""]?.(asExpress, answer);
    });
  };
}

describe("sessions, and answers that wait for them (S4), wherever the middleware stands:", () => {
  it("in an app, and answered by another that is mounted in it", async () => {
    await expectSessions(await serve(express().use(middleware()).use(routes(express()))));
  });

  it("in a mounted app, and answered by the one that it is mounted in", async () => {
    await expectSessions(await serve(routes(express().use(express().use(middleware())))));
  });

  it("in an app whose responses have an `end` of their own", async () => {
    const app = express();
    const end = vi.fn(function end(this: ServerResponse, ...args: unknown[]) {
      return ServerResponse.prototype.end.apply(this, args as [string, BufferEncoding]) as Response;
    });
    app.response.end = end;
    await expectSessions(await serve(routes(app.use(middleware()))));
    expect(end).toHaveBeenCalled();
  });

  it("behind somebody who wraps Node's own methods while the app runs", async () => {
    const base = await serve(routes(express().use(middleware())));
    await expectSessions(base);
    const end = vi.spyOn(ServerResponse.prototype, "end");
    onTestFinished(() => void end.mockRestore());
    await expectSessions(base);
    expect(end).toHaveBeenCalledTimes(4);
  });

  it("before somebody who answers by an object made from the response", async () => {
    const app = express().use(middleware());
    app.use((_request, response, next) => {
      response.send = (body: string) => {
        const own = Object.create(response) as Response;
        return own.end(body);
      };
      next();
    });
    await expectSessions(await serve(routes(app)));
  });

  it("on Node's server, without a framework", async () => {
    await expectSessions(await listen(createServer(bare())));
  });

  it("on a server that makes requests and responses of its own", async () => {
    class OwnRequest extends IncomingMessage {}
    class OwnResponse extends ServerResponse {}
    const classes = { IncomingMessage: OwnRequest, ServerResponse: OwnResponse };
    await expectSessions(await listen(createServer(classes, bare())));
    expect(Object.hasOwn(OwnResponse.prototype, "end")).toBe(true);
  });

  it("on one whose requests and responses can't be added to", async () => {
    class OwnRequest extends IncomingMessage {}
    class OwnResponse extends ServerResponse {}
    for (const { prototype } of [OwnRequest, OwnResponse]) Object.freeze(prototype);
    const classes = { IncomingMessage: OwnRequest, ServerResponse: OwnResponse };
    await expectSessions(await listen(createServer(classes, bare())));
  });
});

describe("an app without our sessions, in the same process as one with them", () => {
  it("has no session, and may use the names", async () => {
    await expectSessions(await serve(routes(express().use(middleware()))));
    const app = express();
    app.get("/", (request, response) => {
      const before: unknown[] = [request.session, request.sessionID, request.sessionStore];
      request.sessionID = "its own";
      response.json([before.every((value) => value === undefined), request.sessionID, Object.keys(request).at(-1)]);
    });
    expect(await new Browser(await serve(app)).json("/")).toEqual([true, "its own", "sessionID"]);
  });

  it("has express-session's, if it wants", async () => {
    await expectSessions(await serve(routes(express().use(middleware()))));
    const stock = stockSession({ store: new MemoryStore(), secret: "s", resave: false, saveUninitialized: false });
    const browser = new Browser(await serve(routes(express().use(stock))));
    const id = (await browser.get("/store")).text;
    expect(await browser.json("/tell")).toEqual([id, "ann"]);
    expect((await browser.get("/refuse")).text).toBe("stored");
  });
});

it("a session that is deleted from the request before anybody has looked at it is unset", async () => {
  const app = routes(express().use(middleware()));
  app.get("/delete", (request, response) => {
    Reflect.deleteProperty(request, "session");
    response.json("session" in request);
  });
  const browser = new Browser(await serve(app));
  const id = (await browser.get("/store")).text;
  expect(await browser.json("/delete")).toBe(false);
  expect(await browser.json("/tell")).not.toContain(id);
});

it("methods of a response that is kept until the next request do not reach that one", async () => {
  const kept: Response[] = [];
  const app = routes(express().use(middleware()));
  app.get("/keep", (_request, response) => void kept.push(response.send("kept")));
  const browser = new Browser(await serve(app));
  await browser.get("/store");
  await browser.get("/keep");
  expect(() => kept[0]?.writeHead(200)).toThrow(/after they are sent/);
  expect(await browser.json("/tell")).toContain("ann");
});
