import { createHmac, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Client, sessionCookie, sessionCookiesOf, signedInClient } from "./harness/client.ts";
import { sessionSecret, type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

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

const bob = { username: "bob", password: "lockstep-demo" };

/** A session cookie's value as express-session signs it. */
function signed(id: string, secret = sessionSecret): string {
  const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
  return encodeURIComponent(`s:${id}.${signature}`);
}

function clientWithCookie(value: string): Client {
  const client = new Client();
  client.cookies.set(sessionCookie, value);
  return client;
}

describe("a request that another site's page made a browser send", () => {
  const crossSite = [
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
    { origin: "https://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site", origin: "null" },
  ];

  for (const headers of crossSite) {
    test(`is refused with 403 and changes nothing: ${JSON.stringify(headers)}`, async () => {
      const client = await signedInClient(stack.nginx);
      for (const server of [stack.server(1), stack.nginx]) {
        const json = await client.request("POST", `${server}/api/cart`, { json: { item: "unwanted" }, headers });
        expect(json.status).toBe(403);
        const form = await client.request("POST", `${server}/cart`, { form: { item: "unwanted" }, headers });
        expect(form.status).toBe(403);
        expect((await client.request("POST", `${server}/api/sign-out`, { headers })).status).toBe(403);
        expect((await client.request("GET", `${server}/api/cart`)).body).toEqual({ items: [] });
      }
    });
  }

  test("cannot sign a visitor in either", async () => {
    const headers = { "sec-fetch-site": "cross-site" };
    const visitor = new Client();
    expect((await visitor.request("POST", `${stack.nginx}/api/sign-in`, { json: bob, headers })).status).toBe(403);
    expect(visitor.sessionId).toBeUndefined();
  });
});

test("requests of our own pages, and of clients that are no browsers, are accepted", async () => {
  const client = await signedInClient(stack.nginx);
  for (const headers of [{}, { "sec-fetch-site": "same-origin" }, { origin: stack.nginx }]) {
    const answer = await client.request("POST", `${stack.nginx}/api/cart`, { json: { item: "wanted" }, headers });
    expect(answer.status, answer.text).toBe(201);
  }
});

test("a link on another site leads to a page that knows who is signed in", async () => {
  const client = await signedInClient(stack.nginx);
  const headers = { "sec-fetch-site": "cross-site" };
  expect((await client.request("GET", `${stack.nginx}/profile`, { headers })).status).toBe(200);
});

describe("wrong input", () => {
  const wrong = [
    ["POST", "/api/sign-up", { username: "x", password: "short" }, ["password", "username"]],
    ["POST", "/api/sign-in", {}, ["password", "username"]],
    ["PATCH", "/api/profile", { name: "" }, ["name"]],
    ["PATCH", "/api/profile", { bio: "x".repeat(2_000) }, ["bio"]],
    ["POST", "/api/cart", { item: 5 }, ["item"]],
    ["PUT", "/api/preferences/colour", {}, ["value"]],
    ["PUT", "/api/preferences/not%20a%20key", { value: 1 }, ["key"]],
  ] as const;

  for (const [method, path, json, fields] of wrong) {
    test(`to ${method} ${path} is answered with 422 and a message for ${fields.join(" and ")}`, async () => {
      const client = await signedInClient(stack.nginx);
      const answer = await client.request(method, stack.nginx + path, { json });
      expect(answer.status).toBe(422);
      const { error } = answer.body as { error: { fields: Record<string, string> } };
      expect(Object.keys(error.fields).sort()).toEqual(fields);
    });
  }

  test.for(["__proto__", "constructor", "prototype"])("the preference key %s is refused, at any depth", async (key) => {
    const client = await signedInClient(stack.nginx);
    const asKey = await client.request("PUT", `${stack.nginx}/api/preferences/${key}`, { json: { value: "polluted" } });
    expect(asKey.status).toBe(422);
    const value: unknown = JSON.parse(`{"deep":{"${key}":{"polluted":true}}}`);
    const inside = await client.request("PUT", `${stack.nginx}/api/preferences/colour`, { json: { value } });
    expect(inside.status).toBe(422);
    expect((await client.request("GET", `${stack.nginx}/api/preferences`)).text).toBe("{}");
  });

  test("a body that is not JSON is the client's mistake", async () => {
    const headers = { "content-type": "application/json" };
    const answer = await new Client().request("POST", `${stack.nginx}/api/sign-in`, { text: "{", headers });
    expect(answer.status).toBe(400);
  });
});

test("wrong credentials get one answer, whether the account exists or not", async () => {
  const attempts = [
    { username: "alice", password: "wrong-password" },
    { username: "nobody-of-that-name", password: "wrong-password" },
  ];
  const answers = await Promise.all(
    attempts.map((json) => new Client().request("POST", `${stack.nginx}/api/sign-in`, { json })),
  );
  expect(answers.map(({ status }) => status)).toEqual([401, 401]);
  expect(answers[0]?.text).toBe(answers[1]?.text);
  expect(answers.flatMap(sessionCookiesOf)).toEqual([]);
});

test.for(["/api/me", "/api/profile", "/api/cart", "/api/preferences"])("%s without a session is 401", async (path) => {
  const answer = await new Client().request("GET", stack.nginx + path);
  expect(answer.status).toBe(401);
  expect(answer.setCookies).toEqual([]);
});

describe("session fixation", () => {
  test("a session planted before the sign-in is not the one that is signed in, and ends with it", async () => {
    const attacker = new Client();
    await attacker.signIn(stack.server(1), bob);
    const victim = attacker.copy();
    await victim.signIn(stack.server(2));
    expect(victim.sessionId).not.toBe(attacker.sessionId);
    expect(await attacker.isSignedIn(stack.server(3))).toBe(false);
    expect((await victim.request("GET", `${stack.server(3)}/api/me`)).body).toMatchObject({ username: "alice" });
  });

  test("an id that the servers did not make is never adopted, even well signed", async () => {
    const planted = randomBytes(24).toString("base64url");
    const client = clientWithCookie(signed(planted));
    expect(client.sessionId).toBe(planted);
    await client.signIn(stack.server(1));
    expect(client.sessionId).not.toBe(planted);
    expect(await clientWithCookie(signed(planted)).isSignedIn(stack.server(2))).toBe(false);
  });
});

describe("a session cookie that is not right", () => {
  const long = "x".repeat(4_000);
  const wrong: Readonly<Record<string, (id: string) => string>> = {
    "with another secret's signature": (id) => signed(id, "another secret"),
    "without a signature": (id) => encodeURIComponent(`s:${id}`),
    unsigned: (id) => id,
    "cut short": (id) => signed(id).slice(0, -3),
    "with broken percent encoding": () => "s%3A%E0%A4%A",
    empty: () => "",
    "with a brace in the id": () => signed("{0}"),
    "very long": () => signed(long),
    "very long and unsigned": () => long,
  };

  for (const [what, value] of Object.entries(wrong)) {
    test(`${what}, is nobody's, and no server error`, async () => {
      const { sessionId = "" } = await signedInClient(stack.server(1));
      // What is wrong with the other is nothing else.
      expect(await clientWithCookie(signed(sessionId)).isSignedIn(stack.server(1))).toBe(true);
      const client = clientWithCookie(value(sessionId));
      for (const server of [...stack.servers, stack.nginx]) {
        expect((await client.request("GET", `${server}/api/me`)).status).toBe(401);
        expect((await client.request("GET", `${server}/`)).status).toBe(200);
      }
      // It does not keep its owner from signing in either.
      await client.signIn(stack.server(2));
      expect(await client.isSignedIn(stack.server(3))).toBe(true);
    });
  }

  test("larger than a server reads headers is the client's mistake", async () => {
    const client = clientWithCookie("x".repeat(40_000));
    for (const server of [stack.server(1), stack.nginx]) {
      const { status } = await client.request("GET", `${server}/api/me`);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
  });

  test("sent twice is no server error and signs nobody in as somebody else", async () => {
    const client = await signedInClient(stack.server(1));
    const own = `${sessionCookie}=${client.cookies.get(sessionCookie) ?? ""}`;
    for (const cookie of [`${sessionCookie}=forged; ${own}`, `${own}; ${sessionCookie}=forged`, `${own}; ${own}`]) {
      const answer = await new Client().request("GET", `${stack.server(2)}/api/me`, { headers: { cookie } });
      expect([200, 401]).toContain(answer.status);
      if (answer.status === 200) expect(answer.body).toMatchObject({ username: "alice" });
    }
  });
});

describe("the session cookie", () => {
  test("is HttpOnly, SameSite=Lax, for this host only, and short", async () => {
    const client = new Client();
    const [setCookie = ""] = sessionCookiesOf(await client.signIn(stack.nginx));
    const [pair = "", ...attributes] = setCookie.split("; ");
    expect(attributes).toEqual(expect.arrayContaining(["Path=/", "HttpOnly", "SameSite=Lax"]));
    expect(attributes.join()).not.toMatch(/domain|secure/i);
    expect(pair.length).toBeLessThan(256);
  });

  test("is Secure where the client came by https", async () => {
    const headers = { "x-forwarded-proto": "https" };
    const answer = await new Client().request("POST", `${stack.server(1)}/api/sign-in`, { json: bob, headers });
    expect(sessionCookiesOf(answer).join()).toMatch(/; Secure/);
  });

  test("is not set before somebody signs in", async () => {
    const visitor = new Client();
    for (const path of ["/", "/sign-in", "/sign-up", "/api/me", "/no-such-page"]) {
      expect(sessionCookiesOf(await visitor.request("GET", stack.nginx + path))).toEqual([]);
    }
  });

  test("is never stored by a cache", async () => {
    const answer = await new Client().request("POST", `${stack.nginx}/api/sign-in`, { json: bob });
    expect(answer.headers["cache-control"]).toContain("no-store");
  });
});

test("a dump of Redis holds no session id that works", async () => {
  const client = await signedInClient(stack.server(1));
  const keys = await stack.redis.keys("*");
  expect(keys.length).toBeGreaterThan(0);
  for (const key of keys) {
    expect(key).not.toContain(client.sessionId);
    expect(await stack.redis.get(key)).not.toContain(client.sessionId);
    const thief = clientWithCookie(signed(key.slice(key.lastIndexOf(":") + 1)));
    expect(await thief.isSignedIn(stack.server(2))).toBe(false);
  }
});
