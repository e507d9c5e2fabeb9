import { describe, expect, it, vi } from "vitest";
import type { SessionsOptions } from "../src/index.ts";
import { cookie, failureOf, startEngine } from "./harness/engine.ts";
import { intercept, livingKeys, testClient } from "./harness/redis.ts";

const client = testClient();
const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string | undefined;
const start = (options: Partial<SessionsOptions> = {}) => startEngine(client, { userOf, ...options });

/** What an index holds, dead rows included. */
const rowsOf = async (prefix: string) => {
  const keys = (await client.keys(`${prefix}h:user:*`)).concat(await client.keys(`${prefix}h:due`));
  return (await Promise.all(keys.map((key) => client.zrange(key, 0, "-1")))).flat();
};

/** Makes what was added to the indexes look long since added: no commit of it can be on its way any more. */
const age = async (prefix: string) => {
  for (const key of await client.keys(`${prefix}h:user:*`)) {
    for (const [at, row] of (await client.zrange(key, 0, "-1")).entries()) await client.zadd(key, "XX", at, row);
  }
};

describe.each(["hashed", "plain"] as const)("S8: the sessions of a user, ids %s", (ids) => {
  it("are listed, the oldest first, by handles that open nothing", async () => {
    const { sessions, create, change } = start({ ids });
    await create("one", { user: "ann", device: "phone" });
    await create("two", { user: "ann", device: "laptop" });
    await create("other", { user: "bob" });
    await create("nobody", {});
    const listed = await sessions.listForUser("ann");
    expect(listed.map(({ fields }) => fields.device)).toEqual(["phone", "laptop"]);
    expect(listed.map(({ handle }) => handle)).toEqual([sessions.handleOf("one"), sessions.handleOf("two")]);
    expect(JSON.stringify(listed)).not.toMatch(/"(one|two)"/);
    expect(await sessions.load(listed[0]?.handle ?? "")).toBeUndefined();
    for (const { createdAt, lastSeenAt, expiresAt } of listed) {
      expect(Date.now() - (createdAt?.getTime() ?? 0)).toBeLessThan(5_000);
      expect(Math.abs(Date.now() - (lastSeenAt?.getTime() ?? 0))).toBeLessThan(5_000);
      expect((expiresAt?.getTime() ?? 0) - Date.now()).toBeGreaterThan(60_000);
    }
    await change("nobody", { user: "ann" });
    expect(await sessions.listForUser("ann")).toHaveLength(3);
    await change("one", { user: "bob" });
    expect(await sessions.listForUser("ann")).toHaveLength(2);
    expect(await sessions.listForUser("bob")).toHaveLength(2);
  });

  it("end all at once, all but one, or one that is theirs", async () => {
    const { sessions, create, prefix, counted } = start({ ids });
    for (const id of ["a", "b", "c", "d"]) await create(id, { user: 7 });
    await create("e", { user: "bob" });
    expect(await sessions.destroyForUser("bob", { only: sessions.handleOf("a") })).toBe(0);
    expect(await sessions.destroyForUser(7, { only: sessions.handleOf("a"), by: "admin" })).toBe(1);
    expect(counted("destroyed")).toEqual([
      { type: "destroyed", handle: sessions.handleOf("a"), reason: "user", by: "admin" },
    ]);
    expect(await sessions.destroyForUser("7", { except: "b" })).toBe(2);
    expect(await sessions.load("b")).toBeDefined();
    expect(await sessions.load("c")).toBeUndefined();
    expect(await sessions.destroyForUser(7)).toBe(1);
    expect(await sessions.destroyForUser(7)).toBe(0);
    expect(await sessions.listForUser(7)).toEqual([]);
    expect(await livingKeys(client, prefix)).toHaveLength(1);
    expect(await rowsOf(prefix)).toHaveLength(2);
  });
});

describe("S8: a sign-in racing a log-out-everywhere has one outcome", () => {
  it.each([
    ["before its session is in the index: it comes after, and lives", "admit", true],
    ["before its session is stored: it is refused", "commit", false],
  ])("held %s", async (_when, verb, lives) => {
    let open: () => void = () => undefined;
    let arrive: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const held = intercept(
      client,
      async (send) => {
        arrive();
        await opened;
        return send();
      },
      verb,
    );
    const one = start();
    const two = startEngine(held, { userOf, prefix: one.prefix });
    const signIn = two.create("new", { user: "ann" });
    await arrived;
    await one.sessions.destroyForUser("ann");
    open();
    expect(await signIn).toBe(lives ? "stored" : "gone");
    expect((await one.sessions.load("new")) !== undefined).toBe(lives);
    expect(await one.sessions.listForUser("ann")).toHaveLength(lives ? 1 : 0);
    expect(await rowsOf(one.prefix)).toHaveLength(lives ? 2 : 0);
  });

  it("whenever it comes, what lives is listed and what was ended is gone", async () => {
    const { sessions, prefix } = start();
    const other = start({ prefix });
    for (let round = 0; round < 200; round += 1) {
      const id = `id-${round}`;
      const signIn = other.create(id, { user: "ann" });
      const ending = sessions.destroyForUser("ann");
      const [outcome] = await Promise.all([signIn, ending]);
      const lives = (await sessions.load(id)) !== undefined;
      const isListed = (await sessions.listForUser("ann")).some(({ handle }) => handle === sessions.handleOf(id));
      expect(isListed).toBe(lives);
      if (outcome === "gone") expect(lives).toBe(false);
    }
  });

  it("an anonymous session that signs in without a new id is ended too", async () => {
    const { sessions, create, load, prefix } = start();
    await create("a", {});
    const { tracked, fields } = await load("a");
    const held = intercept(
      client,
      async (send) => {
        await sessions.destroyForUser("ann");
        return send();
      },
      "commit",
    );
    const other = startEngine(held, { userOf, prefix });
    expect(await other.sessions.commit(tracked, { ...fields, user: "ann" })).toBe("gone");
    expect(await sessions.load("a")).toBeUndefined();
  });
});

describe("S8: a limit on a user's sessions", () => {
  it("refuses one more, and counts only those that live", async () => {
    const { create, sessions, data } = start({ maxPerUser: { sessions: 2, beyond: "reject" } });
    await create("a", { user: "ann" });
    await create("b", { user: "ann" });
    expect(await failureOf(create("c", { user: "ann" }))).toMatchObject({ code: "TOO_MANY_SESSIONS", status: 409 });
    expect(await sessions.load("c")).toBeUndefined();
    await create("d", { user: "bob" });
    await sessions.destroy("a");
    await create("c", { user: "ann" });
    expect(await data("c")).toEqual({ user: "ann" });
  });

  it("ends the oldest", async () => {
    const { create, sessions, counted } = start({ maxPerUser: { sessions: 2, beyond: "oldest" } });
    for (const id of ["a", "b", "c"]) await create(id, { user: "ann" });
    expect(await sessions.load("a")).toBeUndefined();
    expect(await sessions.load("b")).toBeDefined();
    expect(await sessions.load("c")).toBeDefined();
    expect(counted("destroyed")).toEqual([{ type: "destroyed", handle: sessions.handleOf("a"), reason: "limit" }]);
  });

  it.each(["reject", "oldest"] as const)("holds when many sign in at once: %s", async (beyond) => {
    const one = start({ maxPerUser: { sessions: 3, beyond } });
    const two = start({ maxPerUser: { sessions: 3, beyond }, prefix: one.prefix });
    const signIns = Array.from({ length: 20 }, (_, at) => (at % 2 ? one : two).create(`id${at}`, { user: "ann" }));
    const outcomes = await Promise.allSettled(signIns);
    expect(await one.sessions.listForUser("ann")).toHaveLength(3);
    if (beyond === "reject") expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  });
});

describe("S8, S9: sessions that expire", () => {
  it("vanish from the index, and every server is told once", async () => {
    const { create, sessions, prefix, counted } = start({ sweepMs: 20 });
    const other = start({ prefix, sweepMs: 20 });
    const told: unknown[] = [];
    await sessions.subscribe((event) => told.push(event));
    await sessions.commit(sessions.born("a"), { cookie: { ...cookie, originalMaxAge: 100 }, user: "ann" });
    await create("b", { user: "ann" });
    await age(prefix);
    await vi.waitFor(() => {
      expect(told).toContainEqual({ type: "expired", handle: sessions.handleOf("a") });
    }, 5_000);
    expect(await rowsOf(prefix)).toHaveLength(2);
    expect(counted("expired").length + other.counted("expired").length).toBe(1);
    expect((await sessions.listForUser("ann")).map(({ handle }) => handle)).toEqual([sessions.handleOf("b")]);
  });

  it("a session that is used stays in the index", async () => {
    const { sessions, load, prefix, counted } = start({ sweepMs: 20 });
    await sessions.commit(sessions.born("a"), { cookie: { ...cookie, originalMaxAge: 300 }, user: "ann" });
    const { tracked } = await load("a");
    const until = performance.now() + 900;
    while (performance.now() < until) {
      await sessions.touch(tracked, { always: true });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(counted("expired")).toEqual([]);
    expect(await rowsOf(prefix)).toHaveLength(2);
    expect(await sessions.listForUser("ann")).toHaveLength(1);
  });

  it("the absolute limit ends them, however they are used", async () => {
    const { create, sessions, prefix, counted } = start({ sweepMs: 20, absoluteMs: 200 });
    await create("a", { user: "ann" });
    await age(prefix);
    await vi.waitFor(() => {
      expect(counted("expired")).toHaveLength(1);
    }, 5_000);
    expect(await sessions.load("a")).toBeUndefined();
    expect(await rowsOf(prefix)).toEqual([]);
  }, 10_000);
});

it("S8: an index that is new takes in the sessions there are, at their next use", async () => {
  const before = startEngine(client);
  await before.create("a", { user: "ann" });
  const { sessions, load, prefix } = start({ prefix: before.prefix });
  expect(await sessions.listForUser("ann")).toEqual([]);
  const { tracked, fields } = await load("a");
  expect(sessions.isOutdated(tracked)).toBe(true);
  expect(await sessions.commit(tracked, fields)).toBe("stored");
  expect(await sessions.listForUser("ann")).toHaveLength(1);
  const again = await load("a");
  expect(sessions.isOutdated(again.tracked)).toBe(false);
  expect(sessions.commitIfChanged(again.tracked, again.fields)).toBeUndefined();
  // A server that keeps no index leaves it as it is.
  const without = startEngine(client, { prefix });
  await without.change("a", { n: 1 });
  expect(await sessions.listForUser("ann")).toHaveLength(1);
});

it("S8: the index says nothing of who the user is", async () => {
  const { create, prefix } = start();
  await create("the-secret-id", { user: "ann@example.org" });
  const keys = await client.keys(`${prefix}*`);
  expect(keys.join(" ") + (await rowsOf(prefix)).join(" ")).not.toMatch(/ann@example|the-secret-id/);
});
