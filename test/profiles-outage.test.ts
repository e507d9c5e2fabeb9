import { afterAll, beforeAll, expect, test } from "vitest";
import { type Answer, Client, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { type Fault, type FaultCounts, FaultProxy } from "./harness/fault-proxy.ts";
import { type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";
import { untilCached } from "./harness/stale-profile.ts";

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
let databaseProxy: FaultProxy;
let stack: Stack;
const numbers = [1, 2, 3];

beforeAll(async () => {
  database = await startSharedDatabase();
  const databaseUrl = new URL(database.url);
  databaseProxy = await FaultProxy.start(Number(databaseUrl.port));
  databaseUrl.port = String(databaseProxy.port);
  stack = await startStack({ sessionStack: "middleware", databaseUrl: databaseUrl.href, cacheProxied: numbers });
});
afterAll(async () => {
  await stack.stop();
  await databaseProxy.stop();
  await database.stop();
});

/** A command to the cache Redis has a quarter of a second; the rest is for a busy machine. */
const withinMs = 2_000;

async function setFault(fault: Fault): Promise<void> {
  await Promise.all(numbers.map((number) => stack.cacheProxy(number).set(fault)));
}

/** What a fault did at every server. */
function counted(count: keyof FaultCounts): number[] {
  return numbers.map((number) => stack.cacheProxy(number).counts[count]);
}

async function timed(request: Promise<Answer>): Promise<Answer> {
  const start = performance.now();
  const answer = await request;
  expect(performance.now() - start).toBeLessThan(withinMs);
  return answer;
}

/** While the cache Redis is gone: what shows profiles does so from the database, and nothing changes them. */
async function expectProfilesWithoutCache(client: Client, server: string, headline: string): Promise<void> {
  for (const path of ["/api/profile", "/profile", `/people?${new URLSearchParams({ q: headline }).toString()}`]) {
    const answer = await timed(client.request("GET", server + path));
    expect(answer, answer.text).toMatchObject({ status: 200, headers: { "x-cache": "database" } });
    expect(answer.text).toContain(headline);
  }

  const refused = await timed(client.request("PATCH", `${server}/api/profile`, { json: { headline: "Refused" } }));
  expect(refused).toMatchObject({
    status: 503,
    headers: { "retry-after": "1" },
    body: { error: { code: "cache-unavailable" } },
  });
  const form = { name: "Refused", headline: "Refused", city: "", bio: "" };
  const page = await timed(client.request("POST", `${server}/profile/edit`, { form }));
  expect(page.status).toBe(503);
  expect(page.text).toContain("Nothing was changed");
  expect((await client.request("GET", `${server}/api/profile`)).body).toMatchObject({ headline });

  const readiness = await timed(client.request("GET", `${server}/readyz`));
  expect(readiness).toMatchObject({ status: 200, body: { status: "ready", parts: { cache: "down" } } });
}

/** All is as before, without any server having been started again. */
async function expectRecovery(client: Client): Promise<void> {
  await untilCached(stack, client);
  for (const [index, server] of stack.servers.entries()) {
    const headline = `Written on web-${index + 1} at ${Date.now()}`;
    const changed = await client.request("PATCH", `${server}/api/profile`, { json: { headline } });
    expect(changed.status, changed.text).toBe(200);
    for (const reader of stack.servers) {
      expect((await client.request("GET", `${reader}/api/profile`)).body).toMatchObject({ headline });
    }
  }
}

/** A client whose profile every server has read from Redis, with a headline to tell it by. */
async function cachedClient(headline: string): Promise<Client> {
  const client = await signedInClient(stack.server(1));
  await untilCached(stack, client);
  await client.request("PATCH", `${stack.server(1)}/api/profile`, { json: { headline } });
  await untilCached(stack, client);
  return client;
}

const outages: readonly { what: string; fault: Fault; seenIn: keyof FaultCounts }[] = [
  { what: "refuses connections", fault: "refuse", seenIn: "resets" },
  { what: "resets connections", fault: "reset", seenIn: "resets" },
  { what: "is a black hole", fault: "hold", seenIn: "heldChunks" },
  { what: "is ten seconds away", fault: { delayMs: 10_000 }, seenIn: "delayedChunks" },
];

for (const { what, fault, seenIn } of outages) {
  test(`while the cache Redis ${what} profiles come from the database in time, and changes are refused before they are made`, async () => {
    const headline = `Before it ${what}`;
    const client = await cachedClient(headline);
    const before = counted(seenIn);
    await setFault(fault);
    try {
      for (const server of stack.servers) await expectProfilesWithoutCache(client, server, headline);
      for (const [index, count] of counted(seenIn).entries()) expect(count).toBeGreaterThan(before[index] ?? 0);
    } finally {
      await setFault("pass");
    }
    await expectRecovery(client);
  });
}

test("a cache Redis that ends and is started again, empty, is used again", async () => {
  const headline = "Before it ends";
  const client = await cachedClient(headline);
  await stack.stopCacheRedis();
  try {
    for (const server of stack.servers) await expectProfilesWithoutCache(client, server, headline);
  } finally {
    await stack.startCacheRedis();
  }
  await expectRecovery(client);
});

test("while the cache Redis is 100 ms away profiles come from it, and changes are made", async () => {
  const client = await cachedClient("Far away");
  const before = counted("delayedChunks");
  await setFault({ delayMs: 100 });
  try {
    for (const server of stack.servers) {
      // More than once on a busy machine, where an answer may be late by as much again.
      const isCached = async () => {
        const answer = await timed(client.request("GET", `${server}/api/profile`));
        expect(answer.status, answer.text).toBe(200);
        return answer.headers["x-cache"] === "redis";
      };
      await eventually("the profile is read from Redis", isCached);
      const json = { headline: `Changed from afar on ${server}` };
      expect(await timed(client.request("PATCH", `${server}/api/profile`, { json }))).toMatchObject({ status: 200 });
    }
    for (const [index, count] of counted("delayedChunks").entries()) expect(count).toBeGreaterThan(before[index] ?? 0);
  } finally {
    await setFault("pass");
  }
});

test("while the cache Redis is gone, the many who ask a server at once are a few queries to the database", async () => {
  const visitor = new Client();
  const ids = await idsOfPeople(60);
  await setFault("refuse");
  try {
    const before = await figures();
    await databaseProxy.set("hold");
    const visits = ids.map((id) => visitor.copy().request("GET", `${stack.server(1)}/api/people/${id}`));
    try {
      const allAreThere = async () => (await figures()).unavailable === before.unavailable + ids.length;
      await eventually("all of them wait for the database", allAreThere);
    } finally {
      await databaseProxy.set("pass");
    }
    for (const answer of await Promise.all(visits)) {
      expect(answer, answer.text).toMatchObject({ status: 200, headers: { "x-cache": "database" } });
    }
    const after = await figures();
    expect(after.loads - before.loads).toBe(ids.length);
    // Eight at a time (maxSourceConcurrency); those who came after them wait, and are asked for together.
    expect(after.queries - before.queries).toBeLessThanOrEqual(9);
  } finally {
    await setFault("pass");
  }
});

async function idsOfPeople(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let path: string | undefined = "/api/people"; path !== undefined && ids.length < count;) {
    const { body } = await new Client().request("GET", stack.nginx + path);
    const page = body as { people: { id: string }[]; next?: string };
    ids.push(...page.people.map(({ id }) => id));
    path = page.next;
  }
  return ids.slice(0, count);
}

/** Of the first server. */
async function figures(): Promise<{ unavailable: number; loads: number; queries: number }> {
  const { body } = await new Client().request("GET", `${stack.server(1)}/api/cache`);
  const { collections } = body as {
    collections: { counts: { unavailable: number; loads: number }; latency: { database: { count: number } } }[];
  };
  const [profiles] = collections;
  if (profiles === undefined) throw new Error("No collection is open.");
  return { ...profiles.counts, queries: profiles.latency.database.count };
}
