import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, Client, demoAccount, sessionCookie, sessionCookiesOf, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

// What docs/attacks.md lists, as far as test/security.test.ts does not show it.

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
let stack: Stack;
beforeAll(async () => {
  database = await startSharedDatabase();
  stack = await startStack({ sessionStack: "middleware", databaseUrl: database.url });
});
afterAll(async () => {
  await stack.stop();
  await database.stop();
});

/** A name that no other test guesses at. */
let names = 0;
function newName(): string {
  names += 1;
  return `nobody-${names}`;
}

/** An address that no other test comes from; a server takes it from its proxy, as all on loopback are. */
let addresses = 0;
function newAddress(): string {
  addresses += 1;
  return `198.51.${Math.floor(addresses / 250)}.${(addresses % 250) + 1}`;
}

function guess(base: string, from: string, username: string, password = "a wrong password"): Promise<Answer> {
  const headers = { "x-forwarded-for": from };
  return new Client().request("POST", `${base}/api/sign-in`, { json: { username, password }, headers });
}

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status);
const count = (answers: readonly Answer[], status: number) =>
  statuses(answers).filter((each) => each === status).length;

async function inTurn<Result>(times: number, make: (time: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let time = 0; time < times; time += 1) results.push(await make(time));
  return results;
}

describe("guessing passwords", () => {
  test("ends after ten failures at an account, counted by all servers, and its owner signs in from elsewhere", async () => {
    const [address, username] = [newAddress(), "bob"];
    const tries = await inTurn(12, (time) => guess(stack.server((time % 3) + 1), address, username));
    expect(statuses(tries)).toEqual([...Array<number>(10).fill(401), 429, 429]);
    // Not even the right one is looked at now.
    for (const server of stack.servers) {
      const right = await guess(server, address, username, demoAccount.password);
      expect(right.status).toBe(429);
      expect(Number(right.headers["retry-after"])).toBeGreaterThan(60);
      expect(right.text).not.toMatch(/username|password/i);
      expect(right.setCookies).toEqual([]);
    }
    expect((await guess(stack.server(1), newAddress(), username, demoAccount.password)).status).toBe(200);
  });

  test("is refused in the page, too, with a sentence", async () => {
    const [headers, form] = [
      { "x-forwarded-for": newAddress() },
      { username: newName(), password: "a wrong password" },
    ];
    const post = () => new Client().request("POST", `${stack.server(2)}/sign-in`, { form, headers });
    await inTurn(10, post);
    const page = await post();
    expect(page.status).toBe(429);
    expect(page.text).toMatch(/Too many attempts\. Try again in 1[45] minutes\./);
  });

  test("of many at once, on three servers, no more are looked at", async () => {
    const [address, username] = [newAddress(), newName()];
    const tries = await Promise.all(
      Array.from({ length: 60 }, (_, time) => guess(stack.server((time % 3) + 1), address, username)),
    );
    expect([count(tries, 401), count(tries, 429)]).toEqual([10, 50]);
  });

  test("at many accounts from one address ends after a hundred, whatever the name is spelt like", async () => {
    const address = newAddress();
    const tries = await inTurn(104, (time) => guess(stack.server((time % 3) + 1), address, newName()));
    expect([count(tries, 401), count(tries, 429)]).toEqual([100, 4]);
    const [other, username] = [newAddress(), newName()];
    await inTurn(10, () => guess(stack.server(1), other, username));
    expect((await guess(stack.server(1), other, username.toUpperCase())).status).toBe(429);
  });

  test("at one account from many addresses ends after a hundred", async () => {
    const username = newName();
    const tries = await inTurn(104, (time) => guess(stack.server((time % 3) + 1), newAddress(), username));
    expect([count(tries, 401), count(tries, 429)]).toEqual([100, 4]);
  });

  test("from the addresses of one IPv6 network counts as from one", async () => {
    const username = newName();
    const tries = await inTurn(11, (time) => guess(stack.server(1), `2001:db8:1:2:${time}::1`, username));
    expect(tries.at(-1)?.status).toBe(429);
    expect((await guess(stack.server(1), "2001:db8:1:3::1", username)).status).toBe(401);
  });

  test("through nginx, an address that the client claims is not believed", async () => {
    const username = newName();
    const tries = await inTurn(11, () => guess(stack.nginx, newAddress(), username));
    expect(tries.at(-1)?.status).toBe(429);
  });

  test("someone who knows the password may sign in as often as they like, and mistakes before it are forgotten", async () => {
    const address = newAddress();
    const { username, password } = demoAccount;
    const tries = await inTurn(24, (time) =>
      guess(stack.server((time % 3) + 1), address, username, time % 6 === 5 ? password : "a wrong password"),
    );
    expect([count(tries, 401), count(tries, 200)]).toEqual([20, 4]);
    expect(statuses(await inTurn(15, () => guess(stack.server(1), address, username, password)))).not.toContain(429);
  });

  test("that a database which is away does not answer is nobody's failure", async () => {
    const own = await startStack({ sessionStack: "middleware", databaseUrl: "postgres://nobody@127.0.0.1:1/none" });
    try {
      const [address, username] = [newAddress(), newName()];
      const tries = await inTurn(12, () => guess(own.server(1), address, username));
      expect(new Set(statuses(tries))).toEqual(new Set([503]));
    } finally {
      await own.stop();
    }
  });

  test("while Redis is away is counted by each server for itself", async () => {
    const own = await startStack({ sessionStack: "middleware", databaseUrl: database.url });
    try {
      await own.stopRedis();
      const [address, username] = [newAddress(), newName()];
      for (const server of own.servers) {
        const tries = await inTurn(12, () => guess(server, address, username));
        expect(statuses(tries)).toEqual([...Array<number>(10).fill(401), 429, 429]);
      }
      // What they have counted is not what they go by when it is back.
      await own.startRedis();
      const shared = async () => (await guess(own.server(1), address, username)).status === 401;
      await eventually("the servers count together again", shared, { withinMs: 20_000, everyMs: 200 });
    } finally {
      await own.stop();
    }
  });
});

test("accounts are opened thirty an hour from one address", async () => {
  const headers = { "x-forwarded-for": newAddress() };
  const tries = await inTurn(32, (time) => {
    const json = { username: `many-${time}`, password: "a long enough password" };
    return new Client().request("POST", `${stack.server((time % 3) + 1)}/api/sign-up`, { json, headers });
  });
  expect(statuses(tries)).toEqual([...Array<number>(30).fill(201), 429, 429]);
});

test("a flood of sign-ins takes no server's other pages away, and has an answer each", async () => {
  const flood = Promise.all(Array.from({ length: 200 }, () => guess(stack.server(1), newAddress(), newName())));
  const page = async () => {
    const begunAt = performance.now();
    const { status } = await new Client().request("GET", `${stack.server(1)}/`);
    return { status, tookMs: performance.now() - begunAt };
  };
  const pages = await inTurn(5, page);
  expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([200]));
  const answers = await flood;
  expect(new Set(statuses(answers))).toEqual(new Set([401, 503]));
  const busy = answers.find(({ status }) => status === 503);
  expect(busy?.body).toMatchObject({ error: { code: "too-busy" } });
  expect(busy?.headers["retry-after"]).toBe("1");
});

describe.concurrent("slow clients", () => {
  const open = async (base: string, text: string): Promise<Socket> => {
    const socket = connect(Number(new URL(base).port), "127.0.0.1");
    // A reset is one of the ways that they are ended.
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    socket.write(text);
    return socket;
  };
  const ended = (socket: Socket, withinMs: number) =>
    eventually("the slow connection has been ended", () => socket.closed, { withinMs, everyMs: 200 });

  test.each(["nginx", "a server"])(
    "hundreds who never finish their headers are cut off by %s, and keep nobody out",
    async (where) => {
      const base = where === "nginx" ? stack.nginx : stack.server(1);
      const slow = await Promise.all(
        Array.from({ length: 300 }, () => open(base, "GET / HTTP/1.1\r\nHost: x\r\nX-A: ")),
      );
      // A byte now and then does not make them less slow.
      const dripping = setInterval(() => {
        for (const socket of slow) if (socket.writable) socket.write("a");
      }, 1_000);
      try {
        for (let time = 0; time < 5; time += 1) {
          const begunAt = performance.now();
          expect((await new Client().request("GET", `${base}/`)).status).toBe(200);
          expect(performance.now() - begunAt).toBeLessThan(2_000);
        }
        await Promise.all(slow.map((socket) => ended(socket, 15_000)));
      } finally {
        clearInterval(dripping);
      }
    },
  );

  test("who never finishes a body is cut off by nginx, and no server hears of it", async () => {
    const head = "POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    const socket = await open(stack.nginx, head);
    await ended(socket, 15_000);
  });

  test("and by a server, when it is asked directly", async () => {
    const head = "POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    const socket = await open(stack.server(1), head);
    await ended(socket, 25_000);
  });

  test("an idle connection that nginx keeps is not a slow one", async () => {
    const socket = await open(stack.server(1), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    let answers = 0;
    socket.on("data", (data: Buffer) => (answers += data.toString().split("HTTP/1.1 200").length - 1));
    await delay(12_000);
    socket.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually("the second request on it is answered", () => answers === 2);
    socket.destroy();
  });
});

describe("too much of everything", () => {
  const tooMuch: Readonly<Record<string, { path: string; headers?: Record<string, string>; text?: string }>> = {
    "a JSON body": { path: "/api/cart", text: JSON.stringify({ item: "x".repeat(70_000) }) },
    "a JSON body beyond what nginx takes": { path: "/api/cart", text: JSON.stringify({ item: "x".repeat(2_000_000) }) },
    "a form": {
      path: "/cart",
      text: `item=${"x".repeat(70_000)}`,
      headers: { "content-type": "application/x-www-form-urlencoded" },
    },
    "a form of many fields": {
      path: "/cart",
      text: Array.from({ length: 5_000 }, (_, number) => `a${number}=1`).join("&"),
      headers: { "content-type": "application/x-www-form-urlencoded" },
    },
    "a header": { path: "/api/cart", text: "{}", headers: { "x-long": "x".repeat(40_000) } },
    "an address": { path: `/api/cart?${"x".repeat(40_000)}`, text: "{}" },
  };
  for (const [what, { path, headers, text }] of Object.entries(tooMuch)) {
    test(`${what} is the client's mistake`, async () => {
      const client = await signedInClient(stack.server(1));
      for (const base of [stack.server(1), stack.nginx]) {
        const own = { "content-type": "application/json", ...headers };
        const answer = await client.request("POST", base + path, { ...(text !== undefined && { text }), headers: own });
        expect(answer.status, answer.text.slice(0, 200)).toBeGreaterThanOrEqual(400);
        expect(answer.status).toBeLessThan(500);
        expect((await client.request("GET", `${base}/api/cart`)).body).toEqual({ items: [] });
      }
    });
  }

  test("a small body that unpacks to a large one is refused before it is unpacked", async () => {
    const bomb = gzipSync(JSON.stringify({ item: "x".repeat(50_000_000) }));
    expect(bomb.length).toBeLessThan(64 * 1_024);
    const client = await signedInClient(stack.server(1));
    for (const base of [stack.server(1), stack.nginx]) {
      const answer = await fetch(`${base}/api/cart`, {
        method: "POST",
        body: bomb,
        headers: {
          "content-type": "application/json",
          "content-encoding": "gzip",
          cookie: `${sessionCookie}=${client.cookies.get(sessionCookie) ?? ""}`,
        },
      });
      expect(answer.status).toBe(413);
    }
  });

  test("JSON that is thirty thousand levels deep is the client's mistake", async () => {
    const client = await signedInClient(stack.server(1));
    const deep = "[".repeat(30_000) + "]".repeat(30_000);
    const headers = { "content-type": "application/json" };
    for (const [method, path, field] of [
      ["PUT", "/api/preferences/colour", "value"],
      ["POST", "/api/cart", "item"],
      ["PATCH", "/api/profile", "bio"],
      ["POST", "/api/sign-in", "username"],
    ] as const) {
      const answer = await client.request(method, stack.server(2) + path, { text: `{"${field}":${deep}}`, headers });
      expect(answer.status, `${method} ${path}: ${answer.text}`).toBe(422);
    }
    const array = await client.request("POST", `${stack.server(2)}/api/cart`, { text: deep, headers });
    expect(array.status).toBe(422);
  });

  test("a session that is full takes no more, and loses nothing", async () => {
    const client = await signedInClient(stack.server(1));
    const answers = await inTurn(40, (time) => {
      const json = { value: "x".repeat(2_000) };
      return client.request("PUT", `${stack.server((time % 3) + 1)}/api/preferences/key-${time}`, { json });
    });
    const stored = statuses(answers).filter((status) => status < 300).length;
    expect(stored).toBeGreaterThan(5);
    expect(new Set(statuses(answers).slice(stored))).toEqual(new Set([422]));
    const { body } = await client.request("GET", `${stack.server(2)}/api/preferences`);
    expect(Object.keys(body as object).length).toBe(stored);
  });
});

describe("requests that are one to the proxy and two to a server", () => {
  /** Sends bytes as they are. @returns what is answered until the connection ends, or nothing comes for a while */
  const raw = async (base: string, text: string): Promise<string> => {
    const socket = connect(Number(new URL(base).port), "127.0.0.1");
    socket.on("error", () => undefined);
    let answer = "";
    let lastAt = performance.now();
    socket.on("data", (data: Buffer) => {
      answer += data.toString();
      lastAt = performance.now();
    });
    socket.write(text);
    await eventually("the answer is complete", () => socket.closed || performance.now() - lastAt > 700, {
      withinMs: 9_000,
      everyMs: 50,
    });
    socket.destroy();
    return answer;
  };
  const hidden = "GET /api/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
  const chunked = `0\r\n\r\n${hidden}`;
  const smuggled: Readonly<Record<string, string>> = {
    "a length and chunks": `POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Length: ${chunked.length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    "two lengths": `POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    "a disguised encoding": `POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Length: ${chunked.length}\r\nTransfer-Encoding: xchunked\r\n\r\n${chunked}`,
    "an encoding with a space before its colon": `POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Length: ${chunked.length}\r\nTransfer-Encoding : chunked\r\n\r\n${chunked}`,
    "a bare line feed in a header": `POST /api/cart HTTP/1.1\r\nHost: x\r\nX: y\nContent-Length: ${hidden.length}\r\nContent-Length: 0\r\n\r\n${hidden}`,
    "a length with a sign": `POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Length: +${hidden.length}\r\n\r\n${hidden}`,
    "no host": "GET / HTTP/1.1\r\n\r\n",
  };
  for (const [what, text] of Object.entries(smuggled)) {
    test(`with ${what} are refused, and nothing in them is answered`, async () => {
      for (const base of [stack.nginx, stack.server(1)]) {
        const answer = await raw(base, text);
        expect(answer).toMatch(/^(HTTP\/1.1 (400|501) |<html>\r\n<head><title>400|$)/);
        expect(answer).not.toContain("api/hidden");
        expect(answer.match(/HTTP\/1.1/g)?.length ?? 0).toBeLessThanOrEqual(1);
      }
      // The connections between nginx and the servers are in step.
      const client = await signedInClient(stack.nginx);
      for (let turn = 0; turn < 6; turn += 1) {
        expect((await client.request("GET", `${stack.nginx}/api/me`)).body).toMatchObject({ username: "alice" });
      }
    });
  }

  test("with two hosts are refused by nginx", async () => {
    expect(await raw(stack.nginx, "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  });

  test.each(["TRACE", "CONNECT", "PROPFIND", "NONSENSE"])("%s is not a method here", async (method) => {
    for (const base of [stack.nginx, stack.server(1)]) {
      const answer = await raw(base, `${method} / HTTP/1.1\r\nHost: x\r\nX-Secret: told\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^(HTTP\/1.1 40[0-9] |$)/);
      expect(answer).not.toContain("X-Secret");
    }
  });

  test.each([
    "/assets/../nginx.conf",
    "/assets/%2e%2e/%2e%2e/package.json",
    "/assets..%2fpackage.json",
    "/assets../main.js",
    "//assets/..%5cpackage.json",
  ])("%s leads to no file", async (path) => {
    for (const base of [stack.nginx, stack.server(1)]) {
      const answer = await raw(base, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1.1 40[034] /);
      expect(answer).not.toContain("@lockstep");
    }
  });
});

describe("names that mean something to a store", () => {
  const names = [
    "{0}",
    "a}{b",
    "*",
    "sess:h:*",
    "x\r\nSET lockstep:injected 1\r\n",
    "x\r\nset injected 0 0 1\r\n1\r\n",
    "a b",
    "../../etc",
    "'; drop table accounts; --",
    "%00",
    "\u0000",
    "__proto__",
    "x".repeat(300),
  ];

  test.each(names)("%j is a name like any other, or none", async (name) => {
    const before = new Set(await stack.redis.keys("*"));
    const client = await signedInClient(stack.server(1));
    const address = newAddress();
    expect([401, 422]).toContain((await guess(stack.server(1), address, name)).status);
    const headers = { "x-forwarded-for": address };
    const json = { username: name, password: "a long enough password" };
    const opened = await new Client().request("POST", `${stack.server(1)}/api/sign-up`, { json, headers });
    expect(opened.status).toBe(422);
    const encoded = encodeURIComponent(name);
    expect((await client.request("GET", `${stack.server(1)}/api/people/${encoded}`)).status).toBe(404);
    expect((await client.request("GET", `${stack.server(1)}/api/people?q=${encoded}`)).status).toBeLessThan(500);
    const preference = { json: { value: 1 } };
    const { status } = await client.request("PUT", `${stack.server(1)}/api/preferences/${encoded}`, preference);
    expect(status).toBeLessThan(500);
    const planted = new Client();
    planted.cookies.set(sessionCookie, encodeURIComponent(`s:${name}.forged`));
    expect(await planted.isSignedIn(stack.server(1))).toBe(false);
    // Nothing but this test's session, and what counts its attempts.
    const added = (await stack.redis.keys("*")).filter((key) => !before.has(key));
    for (const key of added) expect(key).toMatch(/^(sess:h:[\w-]{43}|lockstep:attempts:[a-z-]+:[0-9a-f]{4})$/s);
  });
});

test("a stolen cookie is worth nothing after its owner signed out, on any server, however often it is sent", async () => {
  const owner = await signedInClient(stack.server(1));
  const thief = owner.copy();
  expect(await thief.isSignedIn(stack.server(2))).toBe(true);
  expect((await owner.request("POST", `${stack.server(3)}/api/sign-out`)).status).toBe(204);
  for (let time = 0; time < 3; time += 1) {
    for (const base of [...stack.servers, stack.nginx]) expect(await thief.isSignedIn(base)).toBe(false);
  }
  const change = await thief.request("POST", `${stack.server(1)}/api/cart`, { json: { item: "stolen" } });
  expect(change.status).toBe(401);
  expect(sessionCookiesOf(change)).toEqual([]);
});

test("a visitor who never signs in leaves nothing in Redis, however many cookies they send", async () => {
  const before = await stack.redis.dbsize();
  for (let time = 0; time < 20; time += 1) {
    const visitor = new Client();
    visitor.cookies.set(sessionCookie, `s%3A${"a".repeat(32)}${time}.forged`);
    for (const path of ["/", "/sign-in", "/people", "/api/me"]) await visitor.request("GET", stack.nginx + path);
  }
  expect(await stack.redis.dbsize()).toBe(before);
});
