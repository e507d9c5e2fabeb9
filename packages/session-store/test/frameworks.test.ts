import { IncomingMessage, type RequestListener, type Server, ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type Request, type Response } from "express";
import stockSession, { MemoryStore } from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Browser, serve } from "./harness/app.ts";
import { testClient } from "./harness/redis.ts";
import { type Handler, expectSessions, refuse, routes, smallSessions, store, tell } from "./harness/small-sessions.ts";

const client = testClient();
const middleware = () => smallSessions(client);

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Node's own server, without a framework. */
function bare(): RequestListener {
  const use = middleware();
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
