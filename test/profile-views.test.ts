import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Client, signedInClient } from "./harness/client.ts";
import { primariesOf } from "./harness/command-watch.ts";
import { eventually } from "./harness/eventually.ts";
import { type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

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

interface Views {
  readonly accepted: number;
  readonly savedRows: number;
  readonly backlog: { readonly rows: number; readonly deadLetters: number } | null;
}

async function viewsOf(server: number): Promise<Views> {
  const answer = await new Client().request("GET", `${stack.server(server)}/api/cache`);
  return (answer.body as { views: Views }).views;
}

interface Person {
  readonly id: string;
  readonly views: number;
}

/** Somebody of the directory whom no other test looks at. */
async function personAt(index: number): Promise<string> {
  const answer = await new Client().request("GET", `${stack.server(1)}/api/people`);
  const { people } = answer.body as { people: readonly Person[] };
  const person = people[index];
  if (person === undefined) throw new Error("The directory has too few people.");
  return person.id;
}

async function look(client: Client, server: number, id: string): Promise<number> {
  const answer = await client.request("GET", `${stack.server(server)}/api/people/${id}`);
  expect(answer.status, answer.text).toBe(200);
  return (answer.body as Person).views;
}

/** What the database has; undefined: nothing yet. */
async function savedViews(id: string): Promise<number | undefined> {
  const [row] = await query("select views from profile_views where id = $1", id);
  return row && Number(row.views);
}

async function query(text: string, id: string): Promise<{ readonly views?: string }[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<{ readonly views?: string }>(text, [id])).rows;
  } finally {
    await client.end();
  }
}

describe("how often a profile was looked at", () => {
  test("is counted on all servers at once, and saved behind them", async () => {
    const id = await personAt(0);
    const visitor = new Client();
    for (const [index, server] of [1, 2, 3, 1, 2].entries()) expect(await look(visitor, server, id)).toBe(index + 1);
    await eventually("the database has the count", async () => (await savedViews(id)) === 5);
    const page = await visitor.request("GET", `${stack.nginx}/people/${id}`);
    expect(page.text).toContain("Seen 6 times by others.");
  });

  test("loses none of those who look at the same moment, on three servers", async () => {
    const id = await personAt(1);
    const visitor = new Client();
    const looks = Array.from({ length: 60 }, (_, index) => look(visitor, (index % 3) + 1, id));
    const counts = await Promise.all(looks);
    expect(counts.toSorted((one, other) => one - other)).toEqual(Array.from(counts, (_, index) => index + 1));
    await eventually("the database has the count", async () => (await savedViews(id)) === 60);
  });

  test("what each server has counted, and what waits on all of them, is told", async () => {
    const id = await personAt(4);
    const before = await viewsOf(3);
    await look(new Client(), 3, id);
    expect((await viewsOf(3)).accepted).toBe(before.accepted + 1);
    await eventually("nothing waits", async () => (await viewsOf(1)).backlog?.rows === 0);
    const all = await Promise.all([1, 2, 3].map(viewsOf));
    expect(all.map(({ backlog }) => backlog)).toEqual(Array(3).fill({ rows: 0, oldestMs: 0, deadLetters: 0 }));
    expect(all.reduce((sum, { savedRows }) => sum + savedRows, 0)).toBeGreaterThan(0);
    const page = await new Client().request("GET", `${stack.server(3)}/cache`);
    expect(page.text).toMatch(/data-count="accepted">[1-9]/);
    expect(page.text).toMatch(/data-count="rows">0</);
  });

  test("does not count who looks at their own", async () => {
    const alice = await signedInClient(stack.server(1));
    const { body } = await alice.request("GET", `${stack.server(1)}/api/profile`);
    const { id } = body as Person;
    const before = await look(alice, 1, id);
    expect(await look(alice, 2, id)).toBe(before);
    expect(await look(new Client(), 3, id)).toBe(before + 1);
    expect((await alice.request("GET", `${stack.server(1)}/people/${id}`)).text).toContain(
      `data-views="${before + 1}"`,
    );
  });

  test("is not tried to be saved for ever where the profile is gone by then", async () => {
    const id = await personAt(2);
    expect(await look(new Client(), 1, id)).toBe(1);
    await query("delete from profiles where id = $1", id);
    await eventually("nothing waits, and nothing is a dead letter", async () => {
      const nodes = primariesOf(stack.redis);
      const keys = await Promise.all(nodes.map((node) => node.keys("lockstep-state:2:{views/*")));
      return !keys.flat().some((key) => /:(queue|dead)$/.test(key));
    });
    expect(await savedViews(id)).toBeUndefined();
  });
});
