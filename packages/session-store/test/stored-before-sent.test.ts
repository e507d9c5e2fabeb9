import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { gunzipSync } from "node:zlib";
import compression from "compression";
import express, { type Express, type RequestHandler } from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SessionEvent, session } from "../src/index.ts";
import { serve } from "./harness/app.ts";
import { intercept, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
const long = "0123456789".repeat(20_000);
let directory: string;
let file: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lockstep-gate-"));
  file = join(directory, "file.txt");
  await writeFile(file, long);
});
afterAll(() => rm(directory, { recursive: true }));

/** Every way to answer. `change` alters the session first; `path` is the last part of the URL. */
const answers: Record<string, { answer: RequestHandler; method?: string; headers?: Record<string, string> }> = {
  json: { answer: (_req, res) => void res.json({ a: 1 }) },
  send: { answer: (_req, res) => void res.status(201).type("text").send("text") },
  redirect: { answer: (_req, res) => void res.redirect(303, "/elsewhere") },
  sendFile: { answer: (_req, res) => void res.sendFile(file) },
  "sendFile, a range": { answer: (_req, res) => void res.sendFile(file), headers: { range: "bytes=10-19" } },
  pipe: { answer: (_req, res) => void createReadStream(file).pipe(res) },
  "write and end": {
    answer: (_req, res) => {
      res.write("one,");
      res.write(Buffer.from("two,"));
      res.end("three");
    },
  },
  "writeHead and end": { answer: (_req, res) => void res.writeHead(202, "Fine", { "X-Given": ["a", "b"] }).end("x") },
  "writeHead with a list": {
    answer: (_req, res) => void res.writeHead(200, ["X-Given", "a", "X-Given", "b", "Set-Cookie", "other=1"]).end("x"),
  },
  flushHeaders: {
    answer: (_req, res) => {
      res.setHeader("X-Given", "a");
      res.flushHeaders();
      setImmediate(() => res.end("later"));
    },
  },
  "end alone": { answer: (_req, res) => void res.end() },
  HEAD: { answer: (_req, res) => void res.json({ a: 1 }), method: "HEAD" },
  204: { answer: (_req, res) => void res.status(204).end() },
  304: { answer: (_req, res) => void res.set("ETag", '"e"').send("x"), headers: { "if-none-match": '"e"' } },
};

/** Where compression stands; it compresses what the client takes compressed. */
const compressed: Record<string, (app: Express, session: RequestHandler) => void> = {
  "without compression": (app, middleware) => app.use(middleware),
  "with compression outside": (app, middleware) => app.use(compression({ threshold: 0 }), middleware),
  "with compression inside": (app, middleware) => app.use(middleware, compression({ threshold: 0 })),
};

/** A gate in front of Redis: what a request without a cookie sends, its commit, waits until told. */
function barrier() {
  let open: () => void = () => undefined;
  let arrive: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  const held = intercept(client, async (send) => {
    arrive();
    await opened;
    return send();
  });
  return { held, arrived, open };
}

function ask(base: string, path: string, options: { method?: string; headers?: Record<string, string> } = {}) {
  let arrived = false;
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    const sent = httpRequest(base + path, { agent: false, ...options }, (message) => {
      arrived = true;
      resolve(message);
    });
    sent.on("error", reject).end();
  });
  const whole = response.then(async (message) => {
    const raw = await buffer(message);
    const body = (message.headers["content-encoding"] === "gzip" && raw.length > 0 ? gunzipSync(raw) : raw).toString();
    const { date: _date, connection: _connection, "keep-alive": _alive, ...headers } = message.headers;
    return { status: message.statusCode, reason: message.statusMessage, headers, body };
  });
  whole.catch(() => undefined);
  return { whole, hasArrived: () => arrived };
}

const change: RequestHandler = (req, _res, next) => {
  (req.session as unknown as { changed: number }).changed = Date.now();
  next();
};

describe.each(Object.entries(compressed))("S4: %s", (where, mount) => {
  describe.each(Object.entries(answers))("%s", (_kind, { answer, method, headers: asked }) => {
    const encoding = where === "without compression" ? {} : { "accept-encoding": "gzip" };
    const options = { ...(method && { method }), headers: { ...asked, ...encoding } };

    async function start(settings: Partial<Parameters<typeof session>[0]>, ...handlers: RequestHandler[]) {
      const app = express();
      mount(app, session({ client, prefix: uniquePrefix(), secret: "s", ...settings }));
      app.get("/", ...handlers, answer);
      return serve(app);
    }

    it("leaves only when its session is stored, and is then what it would have been", async () => {
      const { held, arrived, open } = barrier();
      const expected = await ask(await start({}), "/", options).whole;
      const base = await start({ client: held }, change);
      const { whole, hasArrived } = ask(base, "/", options);
      await arrived;
      await new Promise((resolve) => setTimeout(resolve, 20)); // time in which a byte could leave
      expect(hasArrived()).toBe(false);
      open();
      const { headers, ...rest } = await whole;
      const { headers: expectedHeaders, ...expectedRest } = expected;
      expect(rest).toEqual(expectedRest);
      expect(headers["set-cookie"]?.at(-1)).toMatch(/^connect\.sid=s%3A/);
      expect(headers["set-cookie"]?.slice(0, -1)).toEqual(expectedHeaders["set-cookie"] ?? []);
      expect({ ...headers, "set-cookie": 0 }).toEqual({ ...expectedHeaders, "set-cookie": 0 });
    });

    it("is replaced by an error without a cookie when its session can't be stored", async () => {
      const base = await start({ maxBytes: 10 }, change);
      const { status, headers, body } = await ask(base, "/", options).whole;
      expect(status).toBe(500);
      expect(headers["set-cookie"]).toBeUndefined();
      expect(headers["x-given"] ?? headers.location ?? headers.etag).toBeUndefined();
      if (options.method !== "HEAD") expect(body).toContain("too large");
    });
  });
});

describe("S4: while a response is held", () => {
  async function start(handler: RequestHandler, settings: Partial<Parameters<typeof session>[0]> = {}) {
    const { held, arrived, open } = barrier();
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
    const { status, headers, body } = await ask(base, "/").whole;
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
    expect((await ask(base, "/").whole).body).toBe("whole");
    expect(errors).toEqual(["ERR_STREAM_WRITE_AFTER_END"]);
  });

  it("a handler that throws after it has answered does not take its answer back", async () => {
    const { base, arrived, open } = await start((_req, res) => {
      res.json({ answered: true });
      throw new Error("after the answer");
    });
    const { whole } = ask(base, "/");
    await arrived;
    open();
    expect(await whole).toMatchObject({ status: 200, body: '{"answered":true}' });
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
    const { whole } = ask(base, "/");
    await arrived;
    expect(order).toEqual(["stop"]);
    open();
    expect((await whole).body).toBe("ab");
    expect(order).toEqual(expect.arrayContaining(["stop", "drain", "write", "finish", "end"]));
  });

  it.each(Object.entries(compressed))("who waits for drain goes on: %s", async (_where, mount) => {
    const app = express();
    mount(app, session({ client, prefix: uniquePrefix(), secret: "s" }));
    app.get("/once", change, (_req, res) => {
      if (!res.write("small,")) res.once("drain", () => res.end("end"));
    });
    app.get("/pipe", change, (_req, res) => void Readable.from(["small,", "rows,", "end"]).pipe(res));
    app.get("/pipeline", change, (_req, res) => void pipeline(Readable.from(["small,", "rows,", "end"]), res));
    const base = await serve(app);
    const headers = { "accept-encoding": "gzip" };
    expect((await ask(base, "/once", { headers }).whole).body).toBe("small,end");
    expect((await ask(base, "/pipe", { headers }).whole).body).toBe("small,rows,end");
    expect((await ask(base, "/pipeline", { headers }).whole).body).toBe("small,rows,end");
  });

  it("a handler that throws after a stream whose end is held does not cut it off", async () => {
    const { base, arrived, open } = await start((req, res) => {
      res.write("begun,");
      (req.session as unknown as { late: boolean }).late = true;
      res.end("ended");
      throw new Error("after the answer");
    });
    const { whole } = ask(base, "/");
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
    const { headers } = await ask(await serve(app), "/").whole;
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
    expect((await ask(base, "/").whole).status).toBe(500);
  });

  it("a hook that does not answer breaks the connection", async () => {
    const { base, open } = await start((_req, res) => void res.send("x"), {
      maxBytes: 10,
      onCommitError: () => undefined,
    });
    open();
    await expect(ask(base, "/").whole).rejects.toThrow();
  });

  it("a chunk that is none is the handler's error, not the client's", async () => {
    const { base, arrived, open } = await start((_req, res) => {
      const code = codeOf(() => res.end(123 as unknown as string));
      res.end(code);
    });
    const { whole } = ask(base, "/");
    await arrived;
    open();
    expect((await whole).body).toBe("ERR_INVALID_ARG_TYPE");
  });

  it("informational responses pass", async () => {
    const { base, arrived, open } = await start((_req, res) => {
      res.writeEarlyHints({ link: "</style.css>; rel=preload" }, () => res.end("x"));
    });
    const hints = await new Promise((resolve, reject) => {
      const sent = httpRequest(base, (response) => response.resume());
      sent.on("information", resolve).on("error", reject).end();
      void arrived.then(open);
    });
    expect(hints).toMatchObject({ statusCode: 103 });
  });

  it("a client that goes away does not keep its change from being stored", async () => {
    const { base, arrived, open, events } = await start((_req, res) => void res.json({}));
    const aborting = httpRequest(base);
    aborting.on("error", () => undefined).end();
    await arrived;
    aborting.destroy();
    open();
    // The same server goes on answering.
    expect((await ask(base, "/").whole).status).toBe(200);
    expect(events).toEqual([]);
  });

  it("a body that does not wait is bounded", async () => {
    const { base, arrived, open } = await start((_req, res) => {
      res.on("error", () => undefined);
      for (let written = 0; written < 20; written += 1) res.write(Buffer.alloc(1024 * 1024));
    });
    const { whole } = ask(base, "/");
    await arrived;
    open();
    await expect(whole).rejects.toThrow();
  });

  it("a stream that goes on after its session was refused goes nowhere, and does no harm", async () => {
    let finished = false;
    const { base, open } = await start(
      (_req, res) => {
        const stream = createReadStream(file, { highWaterMark: 1_000 });
        stream.on("end", () => (finished = true)).pipe(res);
      },
      { maxBytes: 10 },
    );
    open();
    expect((await ask(base, "/").whole).status).toBe(500);
    await expect.poll(() => finished).toBe(true);
  });

  it("the outcome is said to be unknown when Redis does not answer in time", async () => {
    const { base } = await start((_req, res) => void res.json({}), { commandDeadlineMs: 50 });
    const { status, headers, body } = await ask(base, "/").whole;
    expect({ status, retry: headers["retry-after"], cookie: headers["set-cookie"] }).toEqual({
      status: 503,
      retry: "1",
      cookie: undefined,
    });
    expect(body).toContain("outcome is unknown");
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
    const cookie = (await ask(base, "/").whole).headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    expect(await ask(base, "/large", { headers: { cookie } }).whole).toMatchObject({ status: 500 });
    expect(await ask(base, "/", { headers: { cookie } }).whole).toMatchObject({ status: 200 });
  });

  it("the app may answer a refusal itself", async () => {
    const { base, open } = await start((_req, res) => void res.set("X-Handler", "1").json({}), {
      maxBytes: 10,
      onCommitError: (error, _req, res) => void res.status(507).json({ code: error.code }),
    });
    open();
    const { status, headers, body } = await ask(base, "/").whole;
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
    const { headers, body } = await ask(base, "/stream").whole;
    expect(body).toBe("data: 1\n\ndata: 2\n\n");
    const cookie = headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    expect((await ask(base, "/late", { headers: { cookie } }).whole).body).toBe("true");
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
    await expect(ask(await serve(app), "/").whole).rejects.toThrow();
  });
});

function codeOf(action: () => unknown): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
