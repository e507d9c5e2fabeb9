import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import compression from "compression";
import express5, { type Express, type RequestHandler, type Response } from "express";
import express4 from "express4";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSessions, session } from "../src/index.ts";
import { serve } from "./harness/app.ts";
import { type Question, type WholeAnswer, ask, cookieOf } from "./harness/exchange.ts";
import { barrier, intercept, restrictedClient, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
/** May do everything but write a string, so that Redis refuses a commit and nothing else. */
let refused: Redis;
let endRefused: () => Promise<void>;
const long = "0123456789".repeat(20_000);
let directory: string;
let file: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lockstep-gate-"));
  file = join(directory, "file.txt");
  await writeFile(file, long);
  const { restricted, allow, end } = await restrictedClient(client);
  [refused, endRefused] = [restricted, end];
  await allow("-set");
  // The scripts are known to Redis from here on: each is one command, which can be intercepted.
  const sessions = createSessions({ client, prefix: uniquePrefix() });
  await sessions.commit(sessions.born("warm"), { cookie: {} });
});
afterAll(async () => {
  await endRefused();
  await rm(directory, { recursive: true });
});

/** A way to answer. */
interface Kind extends Question {
  readonly answer: RequestHandler;
  /** What leaves before the headers: informational answers, which do not wait. */
  readonly early?: string;
  /** Never compressed: compression loses what it has not yet compressed when Express destroys the socket, held or not. */
  readonly isCutOff?: true;
}

const kinds: Record<string, Kind> = {
  json: { answer: (_req, res) => void res.json({ a: 1 }) },
  send: { answer: (_req, res) => void res.status(201).type("text").send("text") },
  redirect: { answer: (_req, res) => void res.redirect(303, "/elsewhere") },
  sendFile: { answer: (_req, res) => void res.sendFile(file) },
  "sendFile, a range": { answer: (_req, res) => void res.sendFile(file), headers: { range: "bytes=10-19" } },
  "stream.pipe": { answer: (_req, res) => void createReadStream(file).pipe(res) },
  pipeline: {
    answer: (_req, res) => {
      // It tells of an answer that was cut short or refused.
      pipeline(Readable.from(["small,", "rows,", "end"]), res).catch(() => undefined);
    },
  },
  "write and end": {
    answer: (_req, res) => {
      res.write("one,");
      res.write(Buffer.from("two,"));
      res.end("three");
    },
  },
  "a drain that is waited for": {
    answer: (_req, res) => {
      if (res.write(long)) res.end("end");
      else res.once("drain", () => res.end("end"));
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
  "server-sent events": {
    answer: (_req, res) => {
      res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" }).flushHeaders();
      const tell = (event: number) => {
        if (event === 3) return void res.end();
        res.write(`data: ${event}\n\n`);
        setImmediate(tell, event + 1);
      };
      tell(0);
    },
  },
  trailers: {
    answer: (_req, res) => {
      res.setHeader("Trailer", "X-Sum");
      res.write("body");
      res.addTrailers({ "X-Sum": "4" });
      res.end();
    },
  },
  "end alone": { answer: (_req, res) => void res.end() },
  "end with a callback": { answer: (_req, res) => void res.end("x", "utf8", () => res.emit("called back")) },
  HEAD: { answer: (_req, res) => void res.json({ a: 1 }), method: "HEAD" },
  "HEAD of a file": { answer: (_req, res) => void res.sendFile(file), method: "HEAD" },
  204: { answer: (_req, res) => void res.status(204).end() },
  "304 by its ETag": {
    answer: (_req, res) => void res.set("ETag", '"e"').send("x"),
    headers: { "if-none-match": '"e"' },
  },
  "304 by its date": {
    answer: (_req, res) => void res.sendFile(file),
    headers: { "if-modified-since": new Date(Date.now() + 60_000).toUTCString() },
  },
  "100 Continue": { answer: (_req, res) => void res.send("x"), headers: { expect: "100-continue" }, early: head(100) },
  "102 Processing": {
    answer: (_req, res) => {
      res.writeProcessing();
      res.send("x");
    },
    early: head(102),
  },
  "103 Early Hints": {
    answer: (_req, res) => {
      res.writeEarlyHints({ link: "</style.css>; rel=preload" });
      res.send("x");
    },
    early: `${head(103).slice(0, -2)}Link: </style.css>; rel=preload\r\n\r\n`,
  },
  "a throw after the answer": {
    answer: (_req, res) => {
      res.json({ a: 1 });
      throw new Error("after the answer");
    },
    isCutOff: true,
  },
  "next(error) after the answer": {
    answer: (_req, res, next) => {
      res.send("text");
      next(new Error("after the answer"));
    },
    isCutOff: true,
  },
};

function head(status: 100 | 102 | 103): string {
  const reason = { 100: "Continue", 102: "Processing", 103: "Early Hints" }[status];
  return `HTTP/1.1 ${status} ${reason}\r\n\r\n`;
}

/** The frameworks, and where compression stands; it compresses what the client takes compressed. */
const mounts: Record<string, (session: RequestHandler) => Express> = {
  "Express 5": (middleware) => express5().use(middleware),
  "Express 5, compression outside": (middleware) => express5().use(compression({ threshold: 0 }), middleware),
  "Express 5, compression inside": (middleware) => express5().use(middleware, compression({ threshold: 0 })),
  "Express 4": (middleware) => express4().use(middleware),
};

const change: RequestHandler = (req, _res, next) => {
  (req.session as unknown as { changed: boolean }).changed = true;
  next();
};

/** One answer, as its server and its handler see it. */
interface Exchange {
  socket: Socket;
  response: Response;
  /** How much had left when Redis had answered. */
  sentBeforeCommit: number;
  /** What the response was to its handler when that had answered, and what it then emitted. */
  readonly seen: unknown[];
}

describe.each(Object.entries(mounts))("S4, %s", (where, mount) => {
  describe.each(Object.entries(kinds))("%s", (_kind, { answer, early = "", isCutOff, ...question }) => {
    const encoding = where.includes("compression") && !isCutOff ? { "accept-encoding": "gzip" } : {};
    const asked: Question = { ...question, headers: { ...question.headers, ...encoding } };

    /** An app whose first request on `/` is the exchange; `/unchanged` gives the same answer, and has nothing to store. */
    async function start(commits = client, settings: { commandDeadlineMs?: number } = {}) {
      const exchange = { sentBeforeCommit: -1, seen: [] } as unknown as Exchange;
      const watched = intercept(commits, async (send) => {
        const reply = await send();
        exchange.sentBeforeCommit = exchange.socket.bytesWritten;
        return reply;
      });
      const prefix = uniquePrefix();
      const app = mount(session({ client: watched, prefix, secret: "s", ...settings }));
      const observed: RequestHandler = (req, res, next) => {
        Object.assign(exchange, { socket: req.socket, response: res });
        for (const event of ["called back", "finish", "close"]) res.on(event, () => exchange.seen.push(event));
        try {
          return answer(req, res, next);
        } finally {
          // Compression outside ends a response when it has compressed; one that is held has ended when it was told to.
          const ended = res.writableEnded || where.includes("outside");
          exchange.seen.push({ headersSent: res.headersSent, ended, set: codeOf(res) });
        }
      };
      app.get("/", change, observed);
      app.get("/unchanged", observed);
      app.get("/read", (req, res) => void res.json((req.session as unknown as { changed?: boolean }).changed ?? false));
      const base = await serve(app);
      return { base, exchange, stored: () => client.keys(`${prefix}*`) };
    }

    /** What is there when all is over. */
    const isOver = ({ socket, seen }: Exchange) =>
      soon(() => seen.includes("close") && socket.destroyed && socket.destroy === Socket.prototype.destroy).toBe(true);

    async function expectTheSame(given: WholeAnswer, exchange: Exchange): Promise<void> {
      const unheld = await start();
      const { headers: plainHeaders, ...plain } = await ask(`${unheld.base}/unchanged`, asked).whole;
      const { headers, ...rest } = given;
      const cookies = headers["set-cookie"] ?? [];
      expect(rest).toEqual(plain);
      expect(cookies.at(-1)).toMatch(/^connect\.sid=s%3A/);
      expect({ ...headers, "set-cookie": cookies.slice(0, -1) }).toEqual({ "set-cookie": [], ...plainHeaders });
      await isOver(exchange);
      await isOver(unheld.exchange);
      expect(exchange.seen).toEqual(unheld.exchange.seen);
      expect(exchange.response.listenerCount("drain")).toBe(unheld.exchange.response.listenerCount("drain"));
    }

    it("leaves when its session is stored, and not a byte before", async () => {
      const { base, exchange } = await start();
      const given = await ask(base, asked).whole;
      expect(exchange.sentBeforeCommit).toBe(early.length);
      await expectTheSame(given, exchange);
      expect((await ask(`${base}/read`, { headers: { cookie: cookieOf(given) } }).whole).body).toBe("true");
    });

    it("waits for a slow commit, and is then what it would have been", async () => {
      const { held, arrived, open } = barrier(client);
      const { base, exchange } = await start(held);
      const { whole, hasArrived } = ask(base, asked);
      await arrived;
      // Requests without a session to store are answered meanwhile, so that the handler has had its time.
      for (let other = 0; other < 3; other += 1) await ask(`${base}/read`).whole;
      expect({ hasArrived: hasArrived(), sent: exchange.socket.bytesWritten }).toEqual({
        hasArrived: false,
        sent: early.length,
      });
      open();
      const given = await whole;
      await expectTheSame(given, exchange);
      expect((await ask(`${base}/read`, { headers: { cookie: cookieOf(given) } }).whole).body).toBe("true");
    });

    function expectRefusal({ status, headers, body, trailers }: WholeAnswer): void {
      expect({ status, retry: headers["retry-after"], cookie: headers["set-cookie"] }).toEqual({
        status: 503,
        retry: "1",
      });
      expect(headers["x-given"] ?? headers.location ?? headers.etag ?? headers.trailer).toBeUndefined();
      expect(trailers).toEqual({});
      expect(body.includes("session")).toBe(asked.method !== "HEAD");
    }

    it("is replaced by 503 without a cookie when Redis refuses the commit", async () => {
      const { base, exchange, stored } = await start(refused);
      const given = await ask(base, asked).whole;
      expectRefusal(given);
      expect(given.body).not.toContain("unknown");
      await isOver(exchange);
      expect(await stored()).toEqual([]);
    });

    it("is replaced by 503 that says that the outcome is unknown when Redis does not tell in time", async () => {
      let answerLate: () => void = () => undefined;
      const late = new Promise<void>((resolve) => (answerLate = resolve));
      const losing = intercept(client, async (send) => {
        const reply = await send();
        await late;
        return reply;
      });
      const { base, exchange, stored } = await start(losing, { commandDeadlineMs: 10 });
      const given = await ask(base, asked).whole;
      expectRefusal(given);
      if (asked.method !== "HEAD") expect(given.body).toContain("outcome is unknown");
      answerLate();
      await isOver(exchange);
      expect(await stored()).toHaveLength(1);
    });

    it("is stored though its client goes away meanwhile, and leaves nothing behind", async () => {
      const { held, arrived, open } = barrier(client);
      const { base, exchange, stored } = await start(held);
      const { abort } = ask(base, asked);
      await arrived;
      abort();
      await soon(() => exchange.socket.readableEnded || exchange.socket.destroyed).toBe(true);
      open();
      await isOver(exchange);
      await soon(stored).toHaveLength(1);
    });
  });
});

const soon = <T>(state: () => T) => expect.poll(state, { interval: 2, timeout: 5_000 });

/** Node's complaint about a header that is set now, if it has one. */
function codeOf(response: Response): unknown {
  try {
    response.setHeader("X-Late", "1");
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
