import express from "express";
import expressSession from "express-session";
import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { RedisStore, type Sessions, type SessionsOptions } from "../src/index.ts";
import { sessionCookie } from "../src/cookie.ts";
import { type SessionSocketsOptions, type SocketCloseReason, sessionSockets } from "../src/session-sockets.ts";
import { Browser, serve } from "./harness/app.ts";
import { startEngine } from "./harness/engine.ts";
import { cutListeners } from "./harness/listeners.ts";
import { intercept, testClient, uniquePrefix } from "./harness/redis.ts";
import { libraries, secret, startSocketServer } from "./harness/sockets.ts";

const client = testClient();
const hour = 3_600_000;
const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string | undefined;

/** A server that has sockets, with connections of its own, and another that has not. */
async function twoServers(
  options: Partial<SessionsOptions & SessionSocketsOptions> = {},
  around = (own: Redis): Redis => own,
) {
  const { keepAliveMs = hour, ...engine } = options;
  const prefix = uniquePrefix();
  // Long enough for a test to do something while the connection is away.
  const own = client.duplicate({ connectionName: prefix, retryStrategy: () => 500 });
  onTestFinished(() => {
    own.disconnect();
  });
  const here = startEngine(around(own), { prefix, userOf, ...engine });
  const elsewhere = startEngine(client, { prefix, userOf, ...engine });
  const sockets = sessionSockets({ sessions: here.sessions, secret, keepAliveMs });
  onTestFinished(() => {
    sockets.close();
  });
  const channel = `${prefix}h:events`;
  const listeners = async () => (await client.pubsub("NUMSUB", channel))[1];
  const authenticate = async (id: string) => {
    const session = await sockets.authenticate({ headers: { cookie: cookieOf(id) } });
    if (!session) throw new Error("there is no such session");
    return session;
  };
  /** A socket: why it was closed, if it was. */
  const open = async (id: string) => {
    const session = await authenticate(id);
    const closed: SocketCloseReason[] = [];
    const release = sockets.bind(session, (reason) => closed.push(reason));
    return { session, closed, release };
  };
  const rotate = async (
    id: string,
    newId: string,
    { graceMs = 0, ...data }: { graceMs?: number; user?: string } = {},
  ) => {
    const { tracked, fields } = await elsewhere.load(id);
    await elsewhere.sessions.rotate(tracked, { ...fields, ...data }, { newId, graceMs });
  };
  const record = (id: string) => `${prefix}h:${here.sessions.handleOf(id)}`;
  return { here, elsewhere, sockets, prefix, channel, listeners, authenticate, open, rotate, record };
}

function cookieOf(id: string): string {
  return sessionCookie("connect.sid", id, secret, {}).split(";", 1)[0] ?? "";
}

const isListening = (listeners: () => Promise<unknown>) =>
  vi.waitFor(async () => {
    expect(await listeners()).toBe(1);
  });

/** @returns waits until this server's engine has heard such an event */
async function heard(sessions: Sessions, type: string): Promise<() => Promise<void>> {
  const told: string[] = [];
  await sessions.subscribe((event) => told.push(event.type));
  return () =>
    vi.waitFor(() => {
      expect(told).toContain(type);
    });
}

/** The same client, whose duplicates are what `make` gives. */
function withDuplicates(client: Redis, make: () => Redis): Redis {
  return new Proxy(client, {
    get: (target, name) => (name === "duplicate" ? make : Reflect.get(target, name, target)) as unknown,
  });
}

describe.each(["ws", "socket.io"] as const)("S9: sockets by %s on one server, sessions on another", (name) => {
  const library = libraries[name];
  const start = async () => {
    const prefix = uniquePrefix();
    const [one, two] = [startEngine(client, { prefix, userOf }), startEngine(client, { prefix, userOf })];
    const [a, b] = [
      await startSocketServer(library, one.sessions),
      await startSocketServer(library, two.sessions, hour),
    ];
    const browser = new Browser(a.url);
    await browser.get("/?user=ann");
    return { a, b, browser, one };
  };

  it("a socket opens by the session's cookie, and closes when the session is destroyed elsewhere", async () => {
    const { b, browser } = await start();
    const socket = await library.open(b.url, browser.cookie);
    expect(socket.greeting).toBe("ann");
    await browser.get("/out");
    expect(await socket.closed).toBe(name === "ws" ? "4401 destroyed" : "io server disconnect");
    expect(b.closed).toEqual(["destroyed"]);
  });

  it("signing out everywhere closes every socket of the user, and nobody else's", async () => {
    const { a, b, browser, one } = await start();
    const [laptop, other] = [new Browser(a.url), new Browser(b.url)];
    await laptop.get("/?user=ann");
    await other.get("/?user=bob");
    const bobs = await library.open(a.url, other.cookie);
    const anns = await Promise.all([
      library.open(a.url, browser.cookie),
      library.open(b.url, browser.cookie),
      library.open(b.url, laptop.cookie),
    ]);
    await one.sessions.destroyForUser("ann");
    await Promise.all(anns.map(({ closed }) => closed));
    expect(bobs.isOpen()).toBe(true);
  });

  it("without a cookie, with a forged one or one of a session that has ended, no socket opens", async () => {
    const { b, browser } = await start();
    const old = browser.cookie;
    await browser.get("/out");
    for (const cookie of ["", old, cookieOf("no such session"), "connect.sid=s:forged.signature"]) {
      await expect(library.open(b.url, cookie)).rejects.toThrow();
    }
  });
});

describe("S9: whatever happens to events, no socket outlives its session", () => {
  it("one that ends between its handshake and the opening closes", async () => {
    const { here, elsewhere, sockets, authenticate } = await twoServers();
    const isTold = await heard(here.sessions, "destroyed");
    await elsewhere.create("a", {});
    const session = await authenticate("a");
    await elsewhere.sessions.destroy("a");
    await isTold();
    const closed = new Promise((resolve) => sockets.bind(session, resolve));
    expect(await closed).toBe("gone");
  });

  it("one that ends before events can be heard closes when they can", async () => {
    let hear: () => void = () => undefined;
    const hearing = new Promise<void>((resolve) => (hear = resolve));
    const { elsewhere, open } = await twoServers({ commandDeadlineMs: 10_000 }, (own) =>
      withDuplicates(own, () => {
        const duplicated = own.duplicate();
        const subscribe = duplicated.subscribe.bind(duplicated);
        return Object.assign(duplicated, { subscribe: (channel: string) => hearing.then(() => subscribe(channel)) });
      }),
    );
    await elsewhere.create("a", {});
    await elsewhere.create("b", {});
    const [a, b] = [await open("a"), await open("b")];
    await elsewhere.sessions.destroy("a");
    hear();
    await vi.waitFor(() => {
      expect(a.closed).toEqual(["gone"]);
    });
    expect(b.closed).toEqual([]);
  });

  it("one that ends while the connection for events is cut closes when that is back", async () => {
    const { elsewhere, open, prefix, listeners } = await twoServers();
    await elsewhere.create("a", {});
    await elsewhere.create("b", {});
    await isListening(listeners);
    const [a, b] = [await open("a"), await open("b")];
    await cutListeners(client, prefix);
    await elsewhere.sessions.destroy("a");
    expect(await listeners()).toBe(0);
    await vi.waitFor(() => expect(a.closed).toEqual(["gone"]), { timeout: 5_000 });
    expect(b.closed).toEqual([]);
  });

  it("without any events it closes after keepAliveMs at most, and at once when they can be had again", async () => {
    let isAway = true;
    const { elsewhere, open, listeners } = await twoServers({ keepAliveMs: 100 }, (own) =>
      withDuplicates(own, () => {
        const duplicated = own.duplicate(isAway ? { port: 1 } : {});
        duplicated.on("error", () => undefined);
        return duplicated;
      }),
    );
    await elsewhere.create("a", {});
    await elsewhere.create("b", {});
    const [a, b] = [await open("a"), await open("b")];
    await elsewhere.sessions.destroy("a");
    await vi.waitFor(() => expect(a.closed).toEqual(["gone"]));
    isAway = false;
    await isListening(listeners);
    await elsewhere.sessions.destroy("b");
    await vi.waitFor(() => expect(b.closed).toHaveLength(1));
  });

  it("one that ends as it is looked for under its new id closes", async () => {
    let onFound: () => Promise<void> = () => Promise.resolve();
    const { here, elsewhere, open, rotate, listeners } = await twoServers({}, (own) =>
      intercept(
        own,
        async (send) => {
          const replies = (await send()) as ([string] | null)[];
          if (replies[0] && !replies[0][0].startsWith(">")) await onFound();
          return replies;
        },
        "load",
      ),
    );
    await elsewhere.create("a", { user: "ann" });
    await isListening(listeners);
    const { closed } = await open("a");
    const isTold = await heard(here.sessions, "destroyed");
    onFound = async () => {
      onFound = () => Promise.resolve();
      await elsewhere.sessions.destroy("b");
      await isTold();
    };
    await rotate("a", "b", { graceMs: 60_000 });
    await vi.waitFor(() => {
      expect(closed).toEqual(["gone"]);
    });
  });

  it("the oldest of too many sessions takes its sockets with it", async () => {
    const { elsewhere, open, listeners } = await twoServers({ maxPerUser: { sessions: 1, beyond: "oldest" } });
    await elsewhere.create("a", { user: "ann" });
    await isListening(listeners);
    const { closed } = await open("a");
    await elsewhere.create("b", { user: "ann" });
    await vi.waitFor(() => expect(closed).toEqual(["destroyed"]));
  });

  it("the absolute limit closes it when it is reached", async () => {
    const { elsewhere, open } = await twoServers({ absoluteMs: 400 });
    await elsewhere.create("a", {});
    const { closed } = await open("a");
    const startedAt = performance.now();
    await vi.waitFor(() => expect(closed).toEqual(["expired"]), { interval: 5 });
    expect(performance.now() - startedAt).toBeLessThan(900);
  });

  it("a record that has gone without a word closes it", async () => {
    const { elsewhere, open, record } = await twoServers({ keepAliveMs: 50 });
    await elsewhere.create("a", {});
    const { closed } = await open("a");
    await client.del(record("a"));
    await vi.waitFor(() => expect(closed).toEqual(["gone"]));
  });
});

describe("S9: a socket keeps its session alive", () => {
  it("by a use every keepAliveMs, until it is closed", async () => {
    const { elsewhere, open, record } = await twoServers({ keepAliveMs: 30 });
    await elsewhere.create("a", {});
    const { release, closed } = await open("a");
    const shorten = (id: string) => client.pexpire(record(id), 20_000);
    const untilUsed = (id: string) =>
      vi.waitFor(async () => {
        expect(await client.pttl(record(id))).toBeGreaterThan(60_000);
      });
    await shorten("a");
    await untilUsed("a");
    release();
    await elsewhere.create("b", {});
    await open("b");
    for (let use = 0; use < 3; use += 1) {
      await Promise.all([shorten("a"), shorten("b")]);
      await untilUsed("b");
    }
    expect(await client.pttl(record("a"))).toBeLessThanOrEqual(20_000);
    expect(closed).toEqual([]);
  });

  it("more often where the idle limit is shorter than keepAliveMs", async () => {
    const { here, open, record } = await twoServers({ idleMs: 2_000 });
    await here.sessions.commit(here.sessions.born("a"), { cookie: { originalMaxAge: null, expires: null } });
    const { closed } = await open("a");
    const remaining = () => client.pttl(record("a"));
    await vi.waitFor(async () => expect(await remaining()).toBeLessThan(1_600));
    await vi.waitFor(async () => expect(await remaining()).toBeGreaterThan(2_000), { timeout: 2_000 });
    expect(closed).toEqual([]);
  });

  it("and stays open while Redis does not answer", async () => {
    let isAway = false;
    const { here, elsewhere, open, listeners } = await twoServers({ keepAliveMs: 30 }, (own) =>
      intercept(own, (send) => (isAway ? Promise.reject(new Error("the line is cut")) : send())),
    );
    await elsewhere.create("a", {});
    await isListening(listeners);
    const { closed } = await open("a");
    isAway = true;
    await vi.waitFor(() => expect(here.sessions.counts()["touch-failed"]).toBeGreaterThan(2));
    expect(closed).toEqual([]);
    isAway = false;
    await elsewhere.sessions.destroy("a");
    await vi.waitFor(() => expect(closed).toHaveLength(1));
  });
});

describe("S9: rotation", () => {
  it("a socket follows its session to a new id while the old one leads there, and closes with it", async () => {
    const { here, elsewhere, open, rotate, listeners } = await twoServers();
    await elsewhere.create("a", { user: "ann" });
    await isListening(listeners);
    const { session, closed } = await open("a");
    await rotate("a", "b", { graceMs: 60_000 });
    await vi.waitFor(() => expect(session.handle).toBe(here.sessions.handleOf("b")));
    expect(session.tracked.id).toBe("b");
    await rotate("b", "c", { graceMs: 60_000 });
    await vi.waitFor(() => expect(session.tracked.id).toBe("c"));
    expect(closed).toEqual([]);
    await elsewhere.sessions.destroy("c");
    await vi.waitFor(() => expect(closed).toEqual(["destroyed"]));
  });

  it("so do several sockets of one handshake, and those that missed the event", async () => {
    const { elsewhere, sockets, authenticate, rotate, prefix, listeners } = await twoServers();
    await elsewhere.create("a", { user: "ann" });
    await isListening(listeners);
    const session = await authenticate("a");
    const closed: string[] = [];
    sockets.bind(session, () => closed.push("one"));
    sockets.bind(session, () => closed.push("two"));
    await cutListeners(client, prefix);
    await rotate("a", "b", { graceMs: 60_000 });
    await vi.waitFor(() => expect(session.tracked.id).toBe("b"), { timeout: 5_000 });
    await isListening(listeners);
    await elsewhere.sessions.destroy("b");
    await vi.waitFor(() => expect(closed.toSorted()).toEqual(["one", "two"]));
  });

  it.each([
    ["nothing leads to the new id", { user: "ann" }],
    ["somebody has signed in, even with a grace", { user: "bob", graceMs: 60_000 }],
  ])("it closes where %s", async (_, change) => {
    const { elsewhere, open, rotate, listeners } = await twoServers();
    await elsewhere.create("a", { user: "ann" });
    await isListening(listeners);
    const { closed } = await open("a");
    await rotate("a", "b", change);
    await vi.waitFor(() => expect(closed).toEqual(["rotated"]));
  });
});

describe("S9: what else may be said or done", () => {
  it("a message that calls a living session expired or rotated closes nothing", async () => {
    const { here, elsewhere, open, channel, listeners } = await twoServers();
    await elsewhere.create("a", {});
    await isListening(listeners);
    const { closed } = await open("a");
    const handle = here.sessions.handleOf("a");
    for (const type of ["expired", "rotated", "created"])
      await client.publish(channel, JSON.stringify({ type, handle }));
    await elsewhere.create("b", {});
    const other = await open("b");
    await elsewhere.sessions.destroy("b");
    await vi.waitFor(() => expect(other.closed).toEqual(["destroyed"]));
    expect(closed).toEqual([]);
  });

  it("a session of stock express-session on RedisStore opens a socket, which closes with it", async () => {
    const { sockets, prefix, listeners } = await twoServers();
    const store = new RedisStore({ client, prefix });
    const app = express();
    app.use(expressSession({ store, secret, resave: false, saveUninitialized: false }));
    app.get("/", (req, res) => {
      Object.assign(req.session, { user: "ann" });
      res.send("in");
    });
    const browser = new Browser(await serve(app));
    await browser.get("/");
    await isListening(listeners);
    const session = await sockets.authenticate({ headers: { cookie: browser.cookie } });
    if (!session) throw new Error("there is no session");
    expect(session.fields.user).toBe("ann");
    const closed = new Promise((resolve) => sockets.bind(session, resolve));
    await store.destroy(session.tracked.id);
    expect(await closed).toBe("destroyed");
  });

  it("once nobody looks after sockets they are closed, also those that open later", async () => {
    const { elsewhere, sockets, open, listeners } = await twoServers();
    await elsewhere.create("a", {});
    await isListening(listeners);
    const { closed } = await open("a");
    sockets.close();
    expect(closed).toEqual(["stopped"]);
    expect((await open("a")).closed).toEqual(["stopped"]);
    await vi.waitFor(async () => expect(await listeners()).toBe(0));
  });

  it("a socket that fails to close keeps no other open, and one that has closed by itself is left alone", async () => {
    const warned = new Promise((resolve) => process.once("warning", resolve));
    const { elsewhere, sockets, authenticate, open, listeners } = await twoServers();
    await elsewhere.create("a", {});
    await isListening(listeners);
    const closedByItself = await open("a");
    sockets.bind(await authenticate("a"), () => {
      throw new Error("it was closed already");
    });
    const { closed } = await open("a");
    closedByItself.release();
    await elsewhere.sessions.destroy("a");
    await vi.waitFor(() => expect(closed).toEqual(["destroyed"]));
    expect(closedByItself.closed).toEqual([]);
    expect(String(await warned)).toContain("it was closed already");
  });

  it("a mistaken option is a TypeError that names it", () => {
    const { sessions } = startEngine(client);
    expect(() => sessionSockets({ sessions, secret: "" })).toThrow("secret");
    expect(() => sessionSockets({ sessions, secret, name: "a b" })).toThrow(TypeError);
    expect(() => sessionSockets({ sessions, secret, keepAliveMs: 0 })).toThrow("keepAliveMs");
  });
});
