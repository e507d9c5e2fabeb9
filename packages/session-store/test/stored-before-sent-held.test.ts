import { Agent, type Server, createServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, Socket, connect } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import express, { type Request, type RequestHandler, type Response } from "express";
import { describe, expect, it } from "vitest";
import { type SessionEvent, session } from "../src/index.ts";
import { serve } from "./harness/app.ts";
import { ask, cookieOf } from "./harness/exchange.ts";
import { barrier, intercept, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

const change: RequestHandler = (req, _res, next) => {
  (req.session as unknown as { changed: number }).changed = Date.now();
  next();
};

describe("S4: while a response is held", () => {
  async function start(handler: RequestHandler, settings: Partial<Parameters<typeof session>[0]> = {}) {
    const { held, arrived, open } = barrier(client);
    const app = express();
    const events: SessionEvent[] = [];
    const options = {
      client: held,
      prefix: uniquePrefix(),
      secret: "s",
      onEvent: (event: SessionEvent) => events.push(event),
    };
    app.use(session({ ...options, ...settings }));
    app.get("/", change, handler);
    return { base: await serve(app), arrived, open, events };
  }

  it("it is to its handler what a sent one is", async () => {
    const seen: Record<string, unknown> = {};
    const { base, open } = await start((_req, res) => {
      res.write("one");
      seen.headersSent = res.headersSent;
      seen.ended = res.writableEnded;
      seen.set = codeOf(() => res.setHeader("X-Late", "1"));
      seen.append = codeOf(() => res.appendHeader("X-Late", "1"));
      seen.remove = codeOf(() => {
        res.removeHeader("X-Late");
      });
      seen.head = codeOf(() => res.writeHead(500));
      res.statusCode = 500;
      seen.more = res.write("two");
      seen.chunk = codeOf(() => res.write(null));
      res.end("three");
      seen.endedAfter = res.writableEnded;
      open();
    });
    const { status, headers, body } = await ask(base).whole;
    expect(seen).toEqual({
      headersSent: true,
      ended: false,
      set: "ERR_HTTP_HEADERS_SENT",
      append: "ERR_HTTP_HEADERS_SENT",
      remove: "ERR_HTTP_HEADERS_SENT",
      head: "ERR_HTTP_HEADERS_SENT",
      more: false,
      chunk: "ERR_STREAM_NULL_VALUES",
      endedAfter: true,
    });
    expect({ status, body, late: headers["x-late"] }).toEqual({ status: 200, body: "onetwothree", late: undefined });
  });

  it("a write after its end is the error that Node makes of it, and the answer stays", async () => {
    const errors: unknown[] = [];
    const { base, open } = await start((_req, res) => {
      res.on("error", (error) => errors.push((error as NodeJS.ErrnoException).code));
      res.end("whole");
      res.write("more");
      open();
    });
    expect((await ask(base).whole).body).toBe("whole");
    expect(errors).toEqual(["ERR_STREAM_WRITE_AFTER_END"]);
  });

  it("callbacks run, drain comes, and an end without callbacks finishes", async () => {
    const order: string[] = [];
    const { base, arrived, open } = await start((_req, res) => {
      res.on("finish", () => order.push("finish"));
      res.once("drain", () => {
        order.push("drain");
        res.end("b", () => order.push("end"));
      });
      if (!res.write("a", () => order.push("write"))) order.push("stop");
    });
    const { whole } = ask(base);
    await arrived;
    expect(order).toEqual(["stop"]);
    open();
    expect((await whole).body).toBe("ab");
    expect(order).toEqual(expect.arrayContaining(["stop", "drain", "write", "finish", "end"]));
  });

  it("who no longer waits for drain is not told of it", async () => {
    const told: string[] = [];
    const { base, arrived, open } = await start((_req, res) => {
      const listen = (name: string) => {
        const listener = () => told.push(name);
        res.once("drain", listener);
        return listener;
      };
      res.write("a");
      res.removeListener("drain", listen("removed"));
      res.off("drain", listen("off"));
      res.once("drain", () => res.end("b"));
      listen("waiting");
    });
    const { whole } = ask(base);
    await arrived;
    open();
    expect((await whole).body).toBe("ab");
    expect(told).toEqual(["waiting"]);
  });

  it("a source that is taken off it keeps what it has not given", async () => {
    const rows = Readable.from(["one,", "two,", "three"]);
    const { base, arrived, open } = await start((_req, res) => {
      rows.pipe(res);
      // The source stops after its first row, until what is held has drained.
      rows.once("pause", () => {
        rows.unpipe(res);
        res.end("end");
      });
    });
    const { whole } = ask(base);
    await arrived;
    open();
    expect((await whole).body).toBe("one,end");
    expect(await text(rows)).toBe("two,three");
  });

  it("a status that Node refuses is the handler's error, as it would be", async () => {
    const { base, open } = await start((_req, res) => {
      open();
      res.statusMessage = "line\nbreak";
      expect(codeOf(() => res.end("x"))).toBe("ERR_INVALID_CHAR");
      Object.assign(res, { statusMessage: "", statusCode: 99 });
      expect(codeOf(() => res.write("x"))).toBe("ERR_HTTP_INVALID_STATUS_CODE");
      res.status(200).end("x");
    });
    expect(await ask(base).whole).toMatchObject({ status: 200, body: "x" });
  });

  it("a list of headers may name one twice, in capitals or not", async () => {
    const { base, open } = await start((_req, res) => {
      open();
      expect(codeOf(() => res.writeHead(200, ["X-Odd"]))).toBe("ERR_INVALID_ARG_VALUE");
      res.writeHead(200, ["Set-Cookie", "a=1", "set-cookie", "b=2"]).end();
    });
    const { headers } = await ask(base).whole;
    expect(headers["set-cookie"]).toEqual(["a=1", "b=2", expect.stringMatching(/^connect\.sid=/)]);
  });

  it("a handler that throws after a stream whose end is held does not cut it off", async () => {
    const { base, arrived, open } = await start((req, res) => {
      res.write("begun,");
      (req.session as unknown as { late: boolean }).late = true;
      res.end("ended");
      throw new Error("after the answer");
    });
    const { whole } = ask(base);
    await arrived;
    open();
    expect((await whole).body).toBe("begun,ended");
  });

  it("what earlier middleware has set stays when the answer is refused, but for its cookies", async () => {
    const app = express();
    app.use((_req, res, next) => {
      res.set({ "Access-Control-Allow-Origin": "https://example.org", "Set-Cookie": "earlier=1" });
      next();
    });
    app.use(session({ client, prefix: uniquePrefix(), secret: "s", maxBytes: 10 }));
    app.get("/", change, (_req, res) => void res.set("X-Handler", "1").send("x"));
    const { headers } = await ask(await serve(app)).whole;
    expect(headers).toMatchObject({ "access-control-allow-origin": "https://example.org" });
    expect(headers).not.toHaveProperty("set-cookie");
    expect(headers).not.toHaveProperty("x-handler");
  });

  it("a hook that throws does not keep the client waiting", async () => {
    const { base, open } = await start((_req, res) => void res.send("x"), {
      maxBytes: 10,
      onCommitError: () => {
        throw new Error("in the hook");
      },
    });
    open();
    expect((await ask(base).whole).status).toBe(500);
  });

  it("a hook that gives no status answers 500, whatever the handler's was", async () => {
    const { base, open } = await start((_req, res) => void res.redirect("/elsewhere"), {
      maxBytes: 10,
      onCommitError: (_error, _req, res) => void res.end("sorry"),
    });
    open();
    expect(await ask(base).whole).toMatchObject({ status: 500, reason: "Internal Server Error", body: "sorry" });
  });

  it("a hook that does not answer breaks the connection", async () => {
    const { base, open } = await start((_req, res) => void res.send("x"), {
      maxBytes: 10,
      onCommitError: () => undefined,
    });
    open();
    await expect(ask(base).whole).rejects.toThrow();
  });

  it("a chunk that is none is the handler's error, not the client's", async () => {
    const { base, arrived, open } = await start((_req, res) => {
      const code = codeOf(() => res.end(123 as unknown as string));
      res.end(code);
    });
    const { whole } = ask(base);
    await arrived;
    open();
    expect((await whole).body).toBe("ERR_INVALID_ARG_TYPE");
  });

  it("a body that does not wait is bounded, and each write is told that it failed", async () => {
    const told: unknown[] = [];
    const { base, arrived, open } = await start((_req, res) => {
      res.on("error", () => undefined);
      for (let written = 0; written < 20; written += 1) {
        res.write(Buffer.alloc(1024 * 1024), (error) => told.push((error as NodeJS.ErrnoException | undefined)?.code));
      }
    });
    const { whole } = ask(base);
    await arrived;
    open();
    await expect(whole).rejects.toThrow();
    await expect.poll(() => told).toEqual(Array.from({ length: 20 }, () => "ERR_STREAM_DESTROYED"));
  });

  it("a stream that goes on after its session was refused goes nowhere, and does no harm", async () => {
    let finished = false;
    const { base, open } = await start(
      (_req, res) => {
        const stream = Readable.from(Array.from({ length: 100 }, () => "x".repeat(1_000)));
        stream.on("end", () => (finished = true)).pipe(res);
      },
      { maxBytes: 10 },
    );
    open();
    expect((await ask(base).whole).status).toBe(500);
    await expect.poll(() => finished).toBe(true);
  });

  it("a session that was loaded is refused once, and its answer arrives", async () => {
    const app = express();
    app.use(session({ client, prefix: uniquePrefix(), secret: "s", maxBytes: 400 }));
    app.get("/", change, (_req, res) => void res.send("stored"));
    app.get("/large", (req, res) => {
      (req.session as unknown as { large: string }).large = "x".repeat(400);
      res.send("stored");
    });
    const base = await serve(app);
    const cookie = cookieOf(await ask(base).whole);
    expect(await ask(`${base}/large`, { headers: { cookie } }).whole).toMatchObject({ status: 500 });
    expect(await ask(base, { headers: { cookie } }).whole).toMatchObject({ status: 200 });
  });

  it("the app may answer a refusal itself", async () => {
    const { base, open } = await start((_req, res) => void res.set("X-Handler", "1").json({}), {
      maxBytes: 10,
      onCommitError: (error, _req, res) => void res.status(507).json({ code: error.code }),
    });
    open();
    const { status, headers, body } = await ask(base).whole;
    expect({ status, body, handler: headers["x-handler"] }).toEqual({
      status: 507,
      body: '{"code":"TOO_LARGE"}',
      handler: undefined,
    });
  });
});

describe("S4: streams", () => {
  it("wait for their headers only, and what they changed later is stored when they end", async () => {
    const prefix = uniquePrefix();
    const app = express();
    app.use(session({ client, prefix, secret: "s" }));
    app.get("/stream", change, (req, res) => {
      res.set("Content-Type", "text/event-stream").write("data: 1\n\n");
      setTimeout(() => {
        (req.session as unknown as { late: boolean }).late = true;
        res.end("data: 2\n\n");
      }, 20);
    });
    app.get("/late", (req, res) => void res.json((req.session as unknown as { late?: boolean }).late ?? null));
    const base = await serve(app);
    const streamed = await ask(`${base}/stream`).whole;
    expect(streamed.body).toBe("data: 1\n\ndata: 2\n\n");
    const cookie = cookieOf(streamed);
    expect((await ask(`${base}/late`, { headers: { cookie } }).whole).body).toBe("true");
  });

  it("are cut off when what they changed later can't be stored", async () => {
    const app = express();
    app.use(session({ client, prefix: uniquePrefix(), secret: "s", maxBytes: 400 }));
    app.get("/", change, (req, res) => {
      res.on("error", () => undefined);
      res.write("begun");
      res.once("drain", () => {
        (req.session as unknown as { late: string }).late = "x".repeat(400);
        res.end("done");
      });
    });
    await expect(ask(await serve(app)).whole).rejects.toThrow();
  });
});

describe("S4: connections", () => {
  it("that go on have nothing left on them", async () => {
    const app = express();
    let socket: Socket | undefined;
    app.use(session({ client, prefix: uniquePrefix(), secret: "s" }));
    app.get("/", change, (req, res) => {
      socket = req.socket;
      res.write("a");
      res.once("drain", () => {
        (req.session as unknown as { late: boolean }).late = true;
        res.end("b");
      });
    });
    const base = await serve(app);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const traces = () => ({
      listeners: socket?.eventNames().map((name) => [name, socket?.listenerCount(name)]),
      own: socket && Reflect.ownKeys(socket),
      timers: process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length,
    });
    await ask(base, { agent }).whole;
    const [first, before] = [socket, traces()];
    for (let more = 0; more < 20; more += 1) expect((await ask(base, { agent }).whole).body).toBe("ab");
    expect(socket).toBe(first);
    await expect.poll(traces).toEqual(before);
    agent.destroy();
  });

  it("that are pipelined get their answers whole and in order, though a later one is stored first", async () => {
    let tellStored: () => void = () => undefined;
    const laterStored = new Promise<void>((resolve) => (tellStored = resolve));
    let commits = 0;
    const reordered = intercept(client, async (send) => {
      if ((commits += 1) === 1) await laterStored;
      const reply = await send();
      tellStored();
      return reply;
    });
    const app = express();
    let socket: Socket | undefined;
    app.use(session({ client: reordered, prefix: uniquePrefix(), secret: "s" }));
    app.get("/free", (_req, res) => void res.send("[free]"));
    app.get("/piped", change, (_req, res) => void Readable.from(["[pip", "ed]"]).pipe(res));
    app.get("/last", change, (req, res) => {
      socket = req.socket;
      res.send("[last]");
    });
    const connection = connect(Number(new URL(await serve(app)).port), "127.0.0.1");
    const lines = (path: string) => `GET /${path} HTTP/1.1\r\nHost: localhost\r\n`;
    connection.write(`${lines("piped")}\r\n${lines("free")}\r\n${lines("last")}Connection: close\r\n\r\n`);
    const answers = await text(connection);
    expect(answers.match(/HTTP\/1\.1 200|\[free\]|\[pip|ed\]|\[last\]/g)).toEqual([
      ...["HTTP/1.1 200", "[pip", "ed]"],
      ...["HTTP/1.1 200", "[free]"],
      ...["HTTP/1.1 200", "[last]"],
    ]);
    expect(socket?.destroy === Socket.prototype.destroy).toBe(true);
  });

  it("that speak HTTP/2 are an error for the app at once", async () => {
    const middleware = withoutExpress(session({ client, prefix: uniquePrefix(), secret: "s" }));
    const server = createHttp2Server((request, response) => {
      middleware(request, response, (error) => response.end(String(error)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const connection = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    expect(await text(connection.request())).toContain("HTTP/1 is needed");
    connection.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it("work without Express, 100 Continue included", async () => {
    const { held, arrived, open } = barrier(client);
    const middleware = withoutExpress(session({ client: held, prefix: uniquePrefix(), secret: "s" }));
    const server: Server = createServer().on("checkContinue", (request: Request, response: Response) => {
      middleware(request, response, () => {
        (request.session as unknown as { changed: boolean }).changed = true;
        response.writeContinue();
        response.write("a");
        response.end("b");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { whole, hasArrived } = ask(base, { headers: { expect: "100-continue" } });
    await arrived;
    expect(hasArrived()).toBe(false);
    open();
    const answer = await whole;
    expect(answer).toMatchObject({ status: 200, body: "ab", informed: [100] });
    expect(cookieOf(answer)).toMatch(/^connect\.sid=/);
    await new Promise((resolve) => server.close(resolve));
  });
});

/** The same middleware on what Node itself makes of a request. */
function withoutExpress(middleware: RequestHandler) {
  return middleware as unknown as (request: object, response: object, next: (error?: unknown) => void) => void;
}

function codeOf(action: () => unknown): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
