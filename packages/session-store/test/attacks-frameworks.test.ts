import { IncomingMessage, ServerResponse } from "node:http";
import { connect as connectSocket } from "node:net";
import express, { type Express, type Request, type Response } from "express";
import express4 from "express4";
import stockSession, { MemoryStore, type SessionData } from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { stopClock } from "../../redis-kit/test/harness/clock.ts";
import { connect, startOwnCluster } from "../../redis-kit/test/harness/redis.ts";
import { session } from "../src/index.ts";
import { memoryRedis } from "../src/memory.ts";
import { Browser, serve } from "./harness/app.ts";
import { startEngine } from "./harness/engine.ts";
import { intercept, livingKeys, testClient, uniquePrefix } from "./harness/redis.ts";
import {
  type Handler,
  expectSessions,
  maxBytes,
  refuse,
  routes,
  smallSessions,
  store,
  tell,
} from "./harness/small-sessions.ts";

const client = testClient();

function middleware(options: object = {}) {
  return smallSessions(client, options);
}

const asExpress = (app: unknown) => app as Express;

describe("sessions, and answers that wait for them (S4), also where the middleware stands:", () => {
  it("in an app, and answered by one of another copy of Express that a router leads to", async () => {
    const other = routes(asExpress(express4()));
    await expectSessions(await serve(express().use(middleware()).use(express.Router().use(other))));
  });

  it("in an app, and answered after one of another copy of Express has passed the request on", async () => {
    const other = asExpress(express4()).use((_request, _response, next) => next());
    const app = express().use(middleware()).use(express.Router().use(other));
    await expectSessions(await serve(routes(app)));
  });

  it("in an app, and answered by a mounted one whose responses have an `end` of their own", async () => {
    const mounted = express();
    mounted.response.end = function end(this: ServerResponse, ...args: unknown[]) {
      return ServerResponse.prototype.end.apply(this, args as [string, BufferEncoding]) as Response;
    };
    await expectSessions(await serve(express().use(middleware()).use(routes(mounted))));
  });

  it("behind somebody who passes on an object made from the request", async () => {
    const app = express();
    const use = middleware();
    app.use((request, response, next) => {
      const own = Object.create(request) as Request;
      use(own, response, (error?: unknown) => {
        if (error) next(error);
        else if (own.url === "/store") store(own, response);
        else if (own.url === "/refuse") refuse(own, response);
        else tell(own, response);
      });
    });
    await expectSessions(await serve(app));
  });

  it("in an app whose requests have a `sessionID` of their own", async () => {
    const app = express();
    Object.defineProperty(app.request, "sessionID", { get: () => "its own", configurable: true });
    await expectSessions(await serve(routes(app.use(middleware()))));
  });

  it("behind somebody who has given the request a sessionID for his own ends", async () => {
    const app = express();
    app.use((request, _response, next) => {
      request.sessionID = "trace-1";
      next();
    });
    app.use(middleware());
    app.get("/id", (request, response) => void response.send(request.sessionID));
    const browser = new Browser(await serve(routes(app)));
    const id = (await browser.get("/store")).text;
    expect((await browser.get("/id")).text).toBe(id);
  });
});

describe("a sign-out in an app of another copy of Express that a router leads to", () => {
  const ways: Record<string, Handler> = {
    "req.session = null, with unset": (request, response) => {
      Object.assign(request, { session: null });
      response.send("out");
    },
    "req.session.destroy()": (request, response) => {
      void request.session.destroy();
      response.send("out");
    },
  };
  it.each(Object.entries(ways))("ends the session: %s", async (_how, signOut) => {
    const other = asExpress(express4()).get("/out", signOut);
    const app = routes(express().use(middleware())).use(express.Router().use(other));
    const browser = new Browser(await serve(app));
    await browser.get("/store");
    const { cookie } = browser;
    expect(await browser.get("/out")).toMatchObject({ status: 200, text: "out" });
    browser.cookie = cookie;
    expect(await browser.json("/tell")).not.toContain("ann");
  });
});

it("an answer sent by a method that somebody has kept from before is a whole one", async () => {
  const app = express();
  const kept = new WeakMap<Request, Response["end"]>();
  app.use((request, response, next) => {
    kept.set(request, response.end.bind(response) as Response["end"]);
    next();
  });
  app.use(middleware());
  app.get("/", (request) => {
    request.session.user = "ann";
    kept.get(request)?.("whole");
  });
  expect((await new Browser(await serve(app)).get("/")).text).toBe("whole");
});

it("an answer sent by Node's own method, past the gate, is a whole one", async () => {
  const app = express().use(middleware());
  app.get("/", (request, response) => {
    request.session.user = "ann";
    ServerResponse.prototype.end.call(response, "whole", "utf8");
  });
  expect((await new Browser(await serve(app)).get("/")).text).toBe("whole");
});

it("the methods that answers wait in are no part of what Express lists as its response's own", async () => {
  await expectSessions(await serve(routes(express().use(middleware()))));
  expect(Object.keys(express.response)).not.toContain("end");
});

it("a second response to the same request is one of its own", async () => {
  const app = express().use(middleware());
  const inner = express().get("/page", (_request, response) => void response.end("part"));
  app.get("/page", (request, response) => {
    request.session.user = "ann";
    const captured = new ServerResponse(request);
    const written: string[] = [];
    inner(request, captured as Response);
    written.push(String(captured.writableEnded));
    response.end(`whole, inner ended: ${written.join()}`);
  });
  expect((await new Browser(await serve(app)).get("/page")).text).toBe("whole, inner ended: true");
});

it("a request that stock express-session has left without a session gets ours, with our store", async () => {
  const stores: unknown[] = [];
  const app = express();
  app.use(
    stockSession({ store: new MemoryStore(), name: "old", secret: "s", resave: false, saveUninitialized: false }),
  );
  app.use((request, _response, next) => request.session.destroy(() => next()));
  app.use(middleware());
  app.get("/end", (request, response, next) => {
    stores.push(request.sessionStore);
    request.session.destroy((error) => (error ? next(error) : response.send("ended")));
  });
  expect(await new Browser(await serve(routes(app))).get("/end")).toMatchObject({ status: 200, text: "ended" });
  expect(stores[0]).not.toBeInstanceOf(MemoryStore);
});

describe("two session()s on one request, the first one's session ended between", () => {
  it("does not let the answer overtake the end", async () => {
    const prefix = uniquePrefix();
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    let ended = false;
    const held = intercept(
      client,
      async (send) => {
        await opened;
        ended = true;
        return send();
      },
      "destroy",
    );
    const [use, other] = ["a", "b"].map((name) => session({ client: held, prefix: prefix + name, name, secret: "s" }));
    if (!use || !other) throw new Error("none");
    const app = express();
    app.get("/store", use, store);
    app.get("/end", use, (request, _response, next) => {
      void request.session.destroy();
      next();
    });
    app.get("/end", other, (_request, response) => void response.send("ended"));
    const browser = new Browser(await serve(app));
    await browser.get("/store");
    const answer = browser.get("/end");
    setTimeout(open, 200);
    await answer;
    expect(ended).toBe(true);
  });

  it("lets what is written then follow what is held", async () => {
    const use = ["a", "b"].map((name) => session({ client, prefix: uniquePrefix(), name, secret: "s" }));
    const app = express();
    app.get("/", ...use.slice(0, 1), (request, response, next) => {
      request.session.user = "ann";
      response.write("one, ");
      Reflect.deleteProperty(request, "session");
      next();
    });
    app.get("/", ...use.slice(1), (_request, response) => void response.end("two"));
    expect((await new Browser(await serve(app)).get("/")).text).toBe("one, two");
  });
});

it("a session that is handed to another middleware's store is stored there, and left alone here", async () => {
  const [a, b] = [uniquePrefix(), uniquePrefix()];
  const stores: Request["sessionStore"][] = [];
  const app = express();
  app.get("/b", middleware({ prefix: b, name: "b" }), (request, response) => {
    stores.push(request.sessionStore);
    response.send("kept");
  });
  const [useA] = [middleware({ prefix: a, name: "a" })];
  app.get("/a", useA, store);
  app.get("/copy", useA, (request, response, next) => {
    request.session.n = 1;
    stores[0]?.set(request.sessionID, request.session as SessionData, (error: unknown) => {
      request.session.n = 2;
      if (error) next(error);
      else response.send("copied");
    });
  });
  const base = await serve(app);
  await new Browser(base).get("/b");
  const browser = new Browser(base);
  await browser.get("/a");
  expect((await browser.get("/copy")).text).toBe("copied");
  expect(await livingKeys(client, b)).toHaveLength(1);
});

describe("sessions that are loaded in one turn", () => {
  it("do not fail for another's second look (U+FFFD)", async () => {
    const failing = new Proxy(client, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (property === "getBuffer") return () => Promise.reject(new Error("Connection is closed."));
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const { create, sessions } = startEngine(failing, { ids: "plain" });
    await create("a", { n: 1 });
    await create("b", { sign: "\uFFFD" });
    const [a] = await Promise.allSettled([sessions.load("a"), sessions.load("b")]);
    expect(a.status).toBe("fulfilled");
  });

  it("are loaded from one node that has all slots of a Cluster, by a client that knows of none", async () => {
    const single = connect((await startOwnCluster()).port);
    const { create, sessions } = startEngine(single);
    for (const id of ["a", "b", "c"]) await create(id, { n: 1 });
    for (const id of ["a", "b", "c"]) expect(await sessions.load(id)).toBeDefined();
    const found = await Promise.allSettled(["a", "b", "c"].map((id) => sessions.load(id)));
    expect(found.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  }, 20_000);
});

describe("what a session holds is what is stored of it", () => {
  it("in the order that a connect-redis server gave it, without another write", async () => {
    const { create, load, sessions, prefix } = startEngine(client, { ids: "plain" });
    await create("a", { n: 1, 7: "x", user: "ann" });
    const raw = JSON.parse((await client.get(`${prefix}a`)) ?? "") as Record<string, unknown>;
    await client.set(`${prefix}a`, JSON.stringify(raw), "PX", 60_000);
    const { tracked, fields } = await load("a");
    expect(await sessions.commit(tracked, fields)).toBe("unchanged");
    expect(fields).toMatchObject({ n: 1, 7: "x", user: "ann" });
  });

  it("where a cookie makes nothing of itself", async () => {
    const { sessions } = startEngine(client, { ids: "plain" });
    const odd = { toJSON: () => ({ toJSON: () => undefined }) };
    const outcome = await sessions.commit(sessions.born("a"), { cookie: odd, n: 1 }).catch(() => "refused");
    const tracked = await sessions.load("a");
    expect(outcome === "stored" ? tracked && sessions.read(tracked) : {}).toBeDefined();
  });

  it("with a client that gives numbers as text", async () => {
    const texts = client.duplicate({ stringNumbers: true });
    onTestFinished(() => texts.disconnect());
    const { sessions, prefix, counted } = startEngine(texts, { ids: "plain" });
    await client.zadd(`${prefix}set`, 1, "x");
    const tracked = await sessions.load("set");
    expect(tracked?.remainingMs).toBeUndefined();
    expect(tracked && sessions.read(tracked)).toBeUndefined();
    expect(counted("corrupt")).toHaveLength(1);
  });
});

describe("a session that changes while it is saved", () => {
  it("is stored as it was when the save began, and the change by the next save", async () => {
    const { create, load, sessions, data } = startEngine(client);
    await create("a", { list: [1] });
    const { tracked, fields } = await load("a");
    const list = fields.list as number[];
    list.push(2);
    const first = sessions.commit(tracked, fields);
    list.push(3);
    const second = sessions.commit(tracked, fields);
    list.push(4);
    await first;
    expect(await second).toBe("stored");
    expect(await data("a")).toEqual({ list: [1, 2, 3, 4] });
    list.push(5);
    expect(await sessions.commit(tracked, fields)).toBe("stored");
    expect(await data("a")).toEqual({ list: [1, 2, 3, 4, 5] });
  });

  it("is stored as it was also where others were first", async () => {
    const { create, load, sessions, data, change } = startEngine(client);
    await create("a", { list: [1] });
    const { tracked, fields } = await load("a");
    await change("a", { other: 1 });
    (fields.list as number[]).push(2);
    const first = sessions.commit(tracked, fields);
    (fields.list as number[]).push(3);
    await first;
    expect(fields).toMatchObject({ list: [1, 2, 3], other: 1 });
    await sessions.commit(tracked, fields);
    expect(await data("a")).toEqual({ list: [1, 2, 3], other: 1 });
  });
});

describe("a Cookie header that is remembered", () => {
  it("is not believed by a middleware with another secret, nor with another name", async () => {
    const prefix = uniquePrefix();
    const [one, other] = ["s", "t"].map((secret) => session({ client, prefix, secret }));
    if (!one || !other) throw new Error("none");
    const app = express();
    app.get("/store", one, store).get("/tell", one, tell).get("/other", other, tell);
    const browser = new Browser(await serve(app));
    const id = (await browser.get("/store")).text;
    for (let n = 0; n < 2; n += 1) {
      expect(await browser.json("/tell")).toEqual([id, "ann"]);
      expect(await browser.json("/other")).not.toContain(id);
    }
  });

  it("counts with its first cookie of the name", async () => {
    const app = routes(express().use(middleware()));
    const base = await serve(app);
    const [ann, bob] = [new Browser(base), new Browser(base)];
    const [annsId, bobsId] = [(await ann.get("/store")).text, (await bob.get("/store")).text];
    for (const [header, id] of [
      [`${ann.cookie}; ${bob.cookie}`, annsId],
      [`${bob.cookie}; ${ann.cookie}`, bobsId],
      [`${ann.cookie}; ${bob.cookie}`, annsId],
    ] as const) {
      const answer = await fetch(`${base}/tell`, { headers: { cookie: header } });
      expect(await answer.json()).toEqual([id, "ann"]);
    }
  });
});

it("pipelined requests on one socket get each their own session and cookie", async () => {
  const base = await serve(routes(express().use(middleware())));
  const [ann, bob] = [new Browser(base), new Browser(base)];
  const ids = [(await ann.get("/store")).text, (await bob.get("/store")).text];
  const { port } = new URL(base);
  const socket = connectSocket(Number(port), "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ask = (path: string, cookie: string, more = "") =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\n${cookie && `Cookie: ${cookie}\r\n`}${more}\r\n`;
  socket.write(
    [
      ask("/tell", ann.cookie),
      ask("/store", ""),
      ask("/refuse", bob.cookie),
      ask("/tell", bob.cookie),
      ask("/tell", ""),
      ask("/tell", ann.cookie, "Connection: close\r\n"),
    ].join(""),
  );
  await new Promise((resolve) => socket.on("close", resolve));
  const answers = text.split(/(?=HTTP\/1\.1 )/);
  expect(answers.map((answer) => answer.slice(9, 12))).toEqual(["200", "200", "500", "200", "200", "200"]);
  expect(answers[0]).toContain(ids[0]);
  expect(answers.map((answer) => /set-cookie/i.test(answer))).toEqual([false, true, false, false, false, false]);
  expect(answers[3]).toContain(`["${ids[1]}","ann"]`);
  expect(answers[5]).toContain(`["${ids[0]}","ann"]`);
  expect(answers[4]).toContain("null");
});

describe("sessions that are loaded in one turn, by a client", () => {
  it.each([
    ["with a keyPrefix", { keyPrefix: "own:" }],
    ["with auto-pipelining", { enableAutoPipelining: true }],
    ["that speaks RESP3", { protocol: 3 as const }],
    ["that connects late", { lazyConnect: true }],
  ])("%s", async (_what, options) => {
    const other = client.duplicate(options);
    onTestFinished(() => other.disconnect());
    const { create, sessions } = startEngine(other);
    await create("a", { n: 1 });
    await create("b", { n: 2 });
    const found = await Promise.all(["a", "none", "b"].map((id) => sessions.load(id)));
    expect(found.map((tracked) => tracked && sessions.read(tracked)?.n)).toEqual([1, undefined, 2]);
    await sessions.destroy("a");
    await sessions.destroy("b");
  });

  it("of memory, while all timers are faked", async () => {
    const { create, sessions } = startEngine(memoryRedis());
    await create("a", { n: 1 });
    vi.useFakeTimers({
      toFake: ["setImmediate", "setTimeout", "Date", "performance", "setInterval", "clearImmediate"],
    });
    onTestFinished(() => void vi.useRealTimers());
    expect(await sessions.load("a")).toBeDefined();
  });

  it("that is disconnected before they leave, fail, and the next do not hang", async () => {
    const other = client.duplicate();
    const { create, sessions } = startEngine(other);
    await create("a", { n: 1 });
    // By then it is known that nobody keeps near copies.
    await sessions.load("a");
    const goOn = stopClock();
    const first = sessions.load("a");
    const loads = [sessions.load("a"), sessions.load("b")];
    other.disconnect();
    goOn();
    // It had left.
    await Promise.allSettled([first]);
    expect((await Promise.allSettled(loads)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(sessions.load("a")).rejects.toThrow();
    await other.connect();
    onTestFinished(() => other.disconnect());
    expect(await sessions.load("a")).toBeDefined();
  });
});

describe("clean sessions beside one that holds U+FFFD", () => {
  it("are loaded in one trip (S5)", async () => {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const slow = new Proxy(client, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (property === "getBuffer") return (key: string) => released.then(() => target.getBuffer(key));
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const { create, sessions } = startEngine(slow, { ids: "plain", commandDeadlineMs: 3_000 });
    await create("a", { n: 1 });
    await create("b", { sign: "\uFFFD" });
    const [a, b] = [sessions.load("a"), sessions.load("b")];
    const first = await Promise.race([
      a.then(() => "loaded"),
      new Promise((resolve) => setTimeout(resolve, 500, "waits")),
    ]);
    release();
    await b;
    expect(first).toBe("loaded");
  });
});

describe("S4: no answer leaves before its session is stored, though it is sent", () => {
  /** An app whose /put changes its session and answers by `answer`. */
  async function started(answer: (request: Request, response: Response) => void) {
    const app = express();
    app.use(session({ client, prefix: uniquePrefix(), secret: "s" }));
    app.get("/put", (request, response) => {
      Object.assign(request.session, { n: 1 });
      answer(request, response);
    });
    app.get("/tell", (request, response) => void response.json((request.session as { n?: number }).n ?? null));
    return new Browser(await serve(app));
  }

  it("by another app that is given a Proxy of the request", async () => {
    const other = express().use((_request, response) => void response.json("done"));
    const browser = await started((request, response) => void other(new Proxy(request, {}), response));
    const answer = await browser.get("/put");
    expect(answer.status, answer.text).toBe(200);
    expect(answer.cookies).toHaveLength(1);
    expect(await browser.json("/tell")).toBe(1);
  });

  it("by another app that is given a request of its own", async () => {
    const other = express().use((_request, response) => void response.json("done"));
    const browser = await started((request, response) => {
      const own = Object.assign(new IncomingMessage(request.socket), {
        method: "GET",
        url: "/",
        headers: request.headers,
      });
      other(own as Request, response);
    });
    const answer = await browser.get("/put");
    expect(answer.status, answer.text).toBe(200);
    expect(answer.cookies).toHaveLength(1);
    expect(await browser.json("/tell")).toBe(1);
  });

  it("by writeHeader, Node's other name for writeHead", async () => {
    const browser = await started((_request, response) => {
      (response as unknown as { writeHeader: (status: number) => void }).writeHeader(200);
      response.end("done");
    });
    const answer = await browser.get("/put");
    expect(answer.status, answer.text).toBe(200);
    expect(answer.cookies).toHaveLength(1);
    expect(await browser.json("/tell")).toBe(1);
  });
});

// The last: it leaves the prototypes to the copy.
it("two copies of this package in one process have each their own sessions, on one Express", async () => {
  const one = await serve(routes(express().use(middleware())));
  await expectSessions(one);
  vi.resetModules();
  const copy = (await import("../src/index.ts")) as { session: typeof session };
  expect(copy.session).not.toBe(session);
  const use = copy.session({ client, prefix: uniquePrefix(), secret: "s", maxBytes, unset: "destroy" });
  await expectSessions(await serve(routes(express().use(use))));
  await expectSessions(one);
  const app = express().use(middleware());
  app.get("/id", (request, response) => void response.send(typeof request.sessionID));
  app.get("/end", (request, response) => request.session.destroy(() => void response.send("ended")));
  const browser = new Browser(await serve(app));
  expect((await browser.get("/id")).text).toBe("string");
  expect((await browser.get("/end")).text).toBe("ended");
});
