import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, Client, demoAccount, sessionCookiesOf, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { profileWrites, sessionStacks, type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";
import { staleProfile, untilCached } from "./harness/stale-profile.ts";

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database.stop());

/** Something that a client changes on one server, and what every server must show in the very next request. */
interface Update {
  readonly what: string;
  readonly change: (client: Client, server: string, value: string) => Promise<Answer>;
  readonly shown: (client: Client, server: string) => Promise<Answer>;
}

const updates: readonly Update[] = [
  {
    what: "a profile",
    change: (client, server, value) => client.request("PATCH", `${server}/api/profile`, { json: { name: value } }),
    shown: (client, server) => client.request("GET", `${server}/api/profile`),
  },
  {
    what: "a card of the directory",
    change: (client, server, value) =>
      client.request("PATCH", `${server}/api/profile`, { json: { headline: value, city: "Visby" } }),
    shown: (client, server) => client.request("GET", `${server}/people?q=visby`),
  },
  {
    what: "a person's page",
    change: (client, server, value) => client.request("PATCH", `${server}/api/profile`, { json: { bio: value } }),
    shown: async (client, server) => {
      const { body } = await client.request("GET", `${server}/api/profile`);
      return client.request("GET", `${server}/people/${(body as { id: string }).id}`);
    },
  },
  {
    what: "a cart",
    change: (client, server, value) => client.request("POST", `${server}/api/cart`, { json: { item: value } }),
    shown: (client, server) => client.request("GET", `${server}/api/cart`),
  },
  {
    what: "a preference",
    change: (client, server, value) => client.request("PUT", `${server}/api/preferences/colour`, { json: { value } }),
    shown: (client, server) => client.request("GET", `${server}/api/preferences`),
  },
];

/** G1: from every server to every server. */
async function expectSeenEverywhere({ what, change, shown }: Update, stack: Stack): Promise<void> {
  const client = await signedInClient(stack.server(1));
  for (const [writer, writing] of stack.servers.entries()) {
    const value = `${what} changed on web-${writer + 1} at ${Date.now()}`;
    expectSuccess(await change(client, writing, value));
    // The other servers first: the one that wrote is the easy one.
    for (let step = 1; step <= stack.servers.length; step += 1) {
      const reader = (writer + step) % stack.servers.length;
      const answer = await shown(client, stack.server(reader + 1));
      expect(answer.text, `read on web-${reader + 1}`).toContain(value);
    }
  }
}

function expectSuccess(answer: Answer): void {
  expect(answer.status, answer.text).toBeLessThan(300);
}

describe.each(sessionStacks)("three servers on %s", (sessionStack) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sessionStack, databaseUrl: database.url });
  });
  afterAll(() => stack.stop());

  for (const update of updates) {
    test(`${update.what} changed on one server is seen on the others in the very next request`, async () => {
      await expectSeenEverywhere(update, stack);
    });
  }

  test("each server names itself in its answers", async () => {
    const client = await signedInClient(stack.server(1));
    for (const [index, server] of stack.servers.entries()) {
      expect((await client.request("GET", `${server}/api/me`)).servedBy).toBe(`web-${index + 1}`);
    }
  });

  test("nginx asks the servers in turn, and no cookie ties a client to one of them", async () => {
    const client = await signedInClient(stack.nginx);
    const answers: Answer[] = [];
    for (let turn = 0; turn < 9; turn += 1) answers.push(await client.request("GET", `${stack.nginx}/api/me`));

    const first = Number(answers[0]?.servedBy?.slice("web-".length));
    expect(answers.map(({ servedBy }) => servedBy)).toEqual(
      answers.map((_, turn) => `web-${((first - 1 + turn) % stack.servers.length) + 1}`),
    );
    expect(answers.flatMap(({ setCookies }) => setCookies)).toEqual([]);
  });

  for (const { what, change, shown } of updates) {
    test(`${what} changed through nginx is seen by each of the next requests`, async () => {
      const client = await signedInClient(stack.nginx);
      for (let round = 0; round < 5; round += 1) {
        const value = `through nginx, round ${round}`;
        expectSuccess(await change(client, stack.nginx, value));
        for (let turn = 0; turn < 3; turn += 1) expect((await shown(client, stack.nginx)).text).toContain(value);
      }
    });
  }

  test("signing out on one server signs out on all", async () => {
    for (const leaving of stack.servers) {
      const client = await signedInClient(stack.server(1));
      // Cookies as they were before: it is the session that must be gone, not only the browser's cookie.
      const before = client.copy();
      for (const server of stack.servers) expect(await before.isSignedIn(server)).toBe(true);
      const answer = await client.request("POST", `${leaving}/api/sign-out`);
      expectSuccess(answer);
      expect(sessionCookiesOf(answer)).toHaveLength(1);
      expect(client.sessionId).toBeUndefined();
      for (const server of stack.servers) expect(await before.isSignedIn(server)).toBe(false);
    }
  });

  test("forms work without JavaScript, and each page comes from the next server", async () => {
    const client = new Client();
    const served: (string | undefined)[] = [];
    const open = async (path: string) => {
      const page = await client.request("GET", stack.nginx + path);
      served.push(page.servedBy);
      expect(page.status).toBe(200);
      return page.text;
    };
    // The POST takes one turn of the round robin, the page that it leads to the next.
    const submit = async (path: string, form: Record<string, string>) => {
      const posted = await client.request("POST", stack.nginx + path, { form });
      served.push(posted.servedBy);
      expect(posted.status).toBe(303);
      return open(posted.headers.location ?? "");
    };

    await open("/sign-in");
    await submit("/sign-in", demoAccount);
    expect(await submit("/profile/edit", { name: "Alice of the forms", bio: "Hops." })).toContain("Alice of the forms");
    expect(await submit("/cart", { item: "ink" })).toContain("ink");
    expect(await submit("/preferences", { key: "colour", value: "teal" })).toContain("teal");
    for (let reload = 0; reload < 3; reload += 1) expect(await open("/cart")).toContain("ink");
    expect(await submit("/cart/remove", { item: "ink" })).not.toContain(">ink<");
    await submit("/sign-out", {});
    expect((await client.request("GET", `${stack.nginx}/cart`)).headers.location).toBe("/sign-in");

    expect(new Set(served.slice(0, 3)).size).toBe(3);
    expect(served).toEqual(served.map((_, turn) => served[turn % 3]));
  });

  test("someone who signs up on one server is signed in on all", async () => {
    const client = new Client();
    const username = `new-on-${sessionStack}`;
    const json = { username, password: "a long enough password" };
    expectSuccess(await client.request("POST", `${stack.server(1)}/api/sign-up`, { json }));
    for (const server of stack.servers) {
      expect((await client.request("GET", `${server}/api/me`)).body).toMatchObject({ username });
    }
  });

  test("a server that is killed and started again loses nobody's session", async () => {
    const client = await signedInClient(stack.server(2));
    expectSuccess(await client.request("POST", `${stack.server(2)}/api/cart`, { json: { item: "survivor" } }));
    await stack.kill(2);
    for (let turn = 0; turn < 6; turn += 1) {
      expect((await client.request("GET", `${stack.nginx}/api/cart`)).body).toEqual({ items: ["survivor"] });
    }
    await stack.start(2);
    expect((await client.request("GET", `${stack.server(2)}/api/cart`)).body).toEqual({ items: ["survivor"] });
    const back = async () => (await client.request("GET", `${stack.nginx}/api/me`)).servedBy === "web-2";
    await eventually("nginx asks the started server again", back);
  });

  test("a restart of Redis keeps the sessions", async () => {
    const client = await signedInClient(stack.server(3));
    expectSuccess(await client.request("POST", `${stack.server(3)}/api/cart`, { json: { item: "survivor" } }));
    await stack.stopRedis();
    await stack.startRedis();
    for (const server of stack.servers) {
      // The server that holds this session, where there are several.
      const found = async () => (await client.request("GET", `${server}/api/cart`)).status === 200;
      await eventually("the server has found Redis again", found, { withinMs: 20_000 });
      expect((await client.request("GET", `${server}/api/cart`)).body).toEqual({ items: ["survivor"] });
    }
  });
});

describe.each(sessionStacks)("five servers on %s", (sessionStack) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sessionStack, databaseUrl: database.url, servers: 5 });
  });
  afterAll(() => stack.stop());

  for (const update of updates) {
    test(`${update.what} changed on one server is seen on the other four`, async () => {
      await expectSeenEverywhere(update, stack);
    });
  }

  test("nginx asks all five", async () => {
    const client = await signedInClient(stack.nginx);
    const names = new Set<string | undefined>();
    for (let turn = 0; turn < 5; turn += 1) names.add((await client.request("GET", `${stack.nginx}/api/me`)).servedBy);
    expect([...names].sort()).toEqual(["web-1", "web-2", "web-3", "web-4", "web-5"]);
  });
});

describe("three servers with near copies", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sessionStack: "middleware", nearCopies: "on", databaseUrl: database.url });
  });
  afterAll(() => stack.stop());

  for (const update of updates) {
    test(`${update.what} changed on one server is seen on the others`, async () => {
      await expectSeenEverywhere(update, stack);
    });
  }

  test("signing out on one server signs out on all", async () => {
    for (const leaving of stack.servers) {
      const client = await signedInClient(stack.server(1));
      const before = client.copy();
      // Each has a copy of the session when it has been asked twice.
      for (const server of [...stack.servers, ...stack.servers]) expect(await before.isSignedIn(server)).toBe(true);
      expectSuccess(await client.request("POST", `${leaving}/api/sign-out`));
      for (const server of stack.servers) expect(await before.isSignedIn(server)).toBe(false);
    }
  });

  test("no profile, card or page that a server shows after an update is from before it", async () => {
    const { attempts, violations, detail } = await staleProfile(stack);
    expect(attempts).toBeGreaterThan(0);
    expect(violations, detail).toBe(0);
  });

  test("each answers from its own memory, and none shows what another has replaced", async () => {
    const client = await signedInClient(stack.server(1));
    // Memcached tells nobody of changes: there, copies are of sessions only.
    const nearest = stack.sharedTier === "memcached" ? "memcached" : "memory";
    const read = (number: number) => client.request("GET", `${stack.server(number)}/api/profile`);
    for (let round = 0; round < 20; round += 1) {
      for (const number of [1, 2, 3]) {
        await eventually(
          `server ${number} answers from ${nearest}`,
          async () => (await read(number)).headers["x-cache"] === nearest,
        );
      }
      const bio = `Round ${round}`;
      await client.request("PATCH", `${stack.server((round % 3) + 1)}/api/profile`, { json: { bio } });
      for (const number of [3, 2, 1]) expect((await read(number)).body).toMatchObject({ bio });
    }
  });

  test("the page of the cache shows the members, and that changes were told", async () => {
    const client = await signedInClient(stack.server(1));
    const { body } = await client.request("GET", `${stack.server(1)}/api/cache`);
    const { near } = body as { near: readonly { of: string }[] };
    // Where both are in one Redis, one group is enough; Memcached knows none.
    const groups = stack.stores.cache.length > 0 ? ["profiles", "sessions"] : ["sessions"];
    expect(near.map(({ of }) => of.replace("profiles and ", ""))).toEqual(groups);
    for (const each of near) expect(each).toMatchObject({ keepsCopies: true, status: { state: "joined" } });
    const { text } = await client.request("GET", `${stack.server(1)}/cache`);
    for (const part of ["Near copies of", "web-1", "web-2", "web-3"]) expect(text).toContain(part);
  });
});

describe.each(profileWrites)("three servers with profiles in the cache, %s", (profileWrites) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sessionStack: "middleware", profileWrites, databaseUrl: database.url });
  });
  afterAll(() => stack.stop());

  test("no profile, card or page that a server shows after an update is from before it", async () => {
    const { attempts, violations, detail } = await staleProfile(stack);
    expect(attempts).toBeGreaterThan(0);
    expect(violations, detail).toBe(0);
  });

  test("the first to read after an update finds the profile where the policy left it, the next in what all share", async () => {
    const client = await signedInClient(stack.server(1));
    await untilCached(stack, client);
    const changed = await client.request("PATCH", `${stack.server(1)}/api/profile`, { json: { bio: profileWrites } });
    expect(changed.headers["x-cache"]).toBe("database");
    const answers = [];
    for (const number of [2, 3, 1]) answers.push(await client.request("GET", `${stack.server(number)}/api/profile`));
    for (const { body } of answers) expect(body).toMatchObject({ bio: profileWrites });
    expect(answers.map(({ headers }) => headers["x-cache"])).toEqual([
      profileWrites === "write-through" ? stack.sharedTier : "database",
      stack.sharedTier,
      stack.sharedTier,
    ]);
  });
});
