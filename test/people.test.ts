import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../infra/local/parts.mjs";
import { Client, signedInClient } from "./harness/client.ts";
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

interface Person {
  readonly id: string;
  readonly name: string;
  readonly headline: string;
  readonly city: string;
}

interface Page {
  readonly people: readonly Person[];
  readonly previous?: string;
  readonly next?: string;
}

/** A page of the directory from the next server in turn. */
async function open(path: string): Promise<Page> {
  const answer = await new Client().request("GET", stack.nginx + path);
  expect(answer.status, answer.text).toBe(200);
  return answer.body as Page;
}

/** Everyone from a page on, following one of its links until there is none. */
async function walk(path: string, way: "previous" | "next"): Promise<readonly Page[]> {
  const pages: Page[] = [];
  for (let at: string | undefined = path; at !== undefined;) {
    const page: Page = await open(at);
    pages.push(page);
    at = page[way];
  }
  return pages;
}

async function search(q: string): Promise<readonly Person[]> {
  const pages = await walk(`/api/people?${new URLSearchParams({ q }).toString()}`, "next");
  return pages.flatMap(({ people }) => people);
}

describe("the directory", () => {
  test("shows everyone once, page after page, and the same on the way back", async () => {
    const there = await walk("/api/people", "next");
    const everyone = there.flatMap(({ people }) => people);
    expect(everyone.length).toBeGreaterThan(3_000);
    expect(new Set(everyone.map(({ id }) => id)).size).toBe(everyone.length);
    expect(there[0]?.previous).toBeUndefined();

    const last = there.at(-1);
    const back = [last, ...(await walk(last?.previous ?? "", "previous"))].toReversed();
    expect(back.map((page) => page?.people)).toEqual(there.map(({ people }) => people));
  });

  test("finds people by the beginnings of words, without regard to case or accents, wherever the words stand", async () => {
    const found = await search("MALMO  libr");
    expect(found.length).toBeGreaterThan(0);
    for (const { city, headline } of found) {
      expect(city).toBe("Malmö");
      expect(headline).toMatch(/^Librarian, /);
    }
    const all = await search("malmö");
    expect(all.filter(({ headline }) => headline.startsWith("Librarian")).map(({ id }) => id)).toEqual(
      found.map(({ id }) => id),
    );
  });

  test("finds a name that has signs in it by each of its parts", async () => {
    const [person] = await search("zoë o’brien");
    expect(person?.name).toBe("Zoë O’Brien");
    for (const q of ["Zoe O'Brien", "brien zoe", "zoë-o"]) expect(await search(q)).toContainEqual(person);
  });

  test.for(["%", "_", "\\", "'", "a:* | b", "!zoe", "zoe & !brien", "((", "no such person"])(
    "takes %j for words and not for a pattern",
    async (q) => {
      for (const { name, headline, city } of await search(q)) {
        const text = `${name} ${headline} ${city}`.normalize("NFKD").toLowerCase();
        for (const word of q.match(/[a-z]+/g) ?? [""]) expect(text).toContain(word);
      }
      if (!/[a-z]/.test(q)) expect(await search(q)).toEqual([]);
    },
  );

  test.for(["/api/people/nobody", "/api/people/5eed0000-0000-4000-8000-999999999999", "/people/nobody"])(
    "has nobody at %s",
    async (path) => {
      expect((await new Client().request("GET", stack.nginx + path)).status).toBe(404);
    },
  );

  test.for(["/api/people", "/people"])("refuses a search at %s that is too long", async (path) => {
    const answer = await new Client().request("GET", `${stack.nginx}${path}?q=${"x".repeat(81)}`);
    expect(answer.status).toBe(422);
    expect(answer.text).toContain("Use at most 80 characters.");
  });
});

test("someone who opens an account is in the directory, and nobody but they may edit the profile", async () => {
  const newcomer = new Client();
  const account = { username: "nils-newcomer", password: "a long password" };
  expect((await newcomer.request("POST", `${stack.server(1)}/api/sign-up`, { json: account })).status).toBe(201);

  const [person] = await search("newcomer");
  expect(person).toMatchObject({ name: "nils-newcomer", headline: "", city: "" });
  const path = `/people/${person?.id ?? ""}`;
  expect((await newcomer.request("GET", stack.server(2) + path)).text).toContain("/profile/edit");
  expect((await newcomer.request("GET", `${stack.server(3)}/people?q=newcomer`)).text).toContain("/profile/edit");
  const other = await signedInClient(stack.server(1));
  expect((await other.request("GET", stack.server(2) + path)).text).not.toContain("/profile/edit");
});

test("seeding again adds nobody, and leaves what was edited", async () => {
  const alice = await signedInClient(stack.server(1));
  await alice.request("PATCH", `${stack.server(1)}/api/profile`, { json: { city: "Elsewhere" } });
  const before = await search("");
  await migrate({ databaseUrl: database.url });
  expect(await search("")).toEqual(before);
  expect(await search("elsewhere")).toMatchObject([{ city: "Elsewhere" }]);
});
