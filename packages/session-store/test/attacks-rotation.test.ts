import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { starter } from "./harness/attacks.ts";
import { intercept, testClient } from "./harness/redis.ts";

// What an independent reviewer tried against rotation and the index, once the first findings were mended.

const client = testClient();
const start = starter(client);
const graceMs = 10_000;

describe("S7: whoever planted an id", () => {
  it("is not led to the session that somebody signs in to after its rotation", async () => {
    const { sessions, create, load, change } = start();
    await create("planted", {});
    const { tracked, fields } = await load("planted");
    await sessions.rotate(tracked, fields, { newId: "new", graceMs });
    expect((await load("planted")).tracked.id).toBe("new");
    await change("new", { user: "ann" });
    expect(await sessions.load("planted")).toBeUndefined();
    expect(await sessions.load("new")).toBeDefined();
  });

  it("can't sign that somebody out either", async () => {
    const { sessions, create, load, change } = start();
    await create("planted", {});
    const { tracked, fields } = await load("planted");
    await sessions.rotate(tracked, fields, { newId: "new", graceMs });
    await change("new", { user: "ann" });
    await sessions.destroy("planted");
    expect(await sessions.load("new")).toBeDefined();
  });
});

describe("S3: a sign-out", () => {
  it("by an id that was rotated without a grace ends the session, wherever it has gone", async () => {
    const { sessions, create, load } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    await Promise.all([sessions.rotate(tracked, fields, { newId: "new" }), sessions.destroy("old")]);
    expect(await sessions.load("new")).toBeUndefined();
    expect(await sessions.listForUser("ann")).toEqual([]);
  });
});

describe("S6: a life that another request has given", () => {
  it("is not shortened by a log-out-everywhere that looks at the session of somebody else", async () => {
    const one = start({ conflict: "reject" });
    await one.create("k", { user: "ann", n: 1 });
    const { tracked, fields } = await one.load("k");
    const other = start({ prefix: one.prefix });
    await other.change("k", { n: 2 });
    // Leaves a row of bob's that names ann's session.
    await expect(one.sessions.commit(tracked, { ...fields, user: "bob", n: 3 })).rejects.toThrow();
    const key = `${one.prefix}h:${one.sessions.handleOf("k")}`;
    await client.pexpire(key, 2_000);
    const used = intercept(client, (send) => client.pexpire(key, 60_000).then(send), "commit");
    await starter(used)({ prefix: one.prefix }).sessions.destroyForUser("bob");
    expect(await client.pttl(key)).toBeGreaterThan(50_000);
    expect(await other.data("k")).toEqual({ user: "ann", n: 2 });
  });

  it("is not shortened by a move", async () => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    await client.pexpire(`${plain.prefix}k`, 2_000);
    const used = intercept(client, (send) => client.pexpire(`${plain.prefix}k`, 60_000).then(send), "commit");
    const moving = starter(used)({ prefix: plain.prefix, migrateFrom: "plain" });
    expect((await moving.load("k")).tracked.remainingMs).toBeGreaterThan(50_000);
  });
});

describe("S8: the index", () => {
  it("keeps the row of a session that this server can't read, and ends it all the same", async () => {
    const { create, prefix, sessions } = start({ encryption: { keys: [randomBytes(32)] } });
    await create("k", { user: "ann" });
    const blind = start({ prefix, encryption: { keys: [randomBytes(32)] } });
    expect(await blind.sessions.listForUser("ann")).toEqual([]);
    expect(await sessions.listForUser("ann")).toHaveLength(1);
    await blind.sessions.destroyForUser("ann");
    expect(await sessions.load("k")).toBeUndefined();
  });

  it("is served though somebody else's session has become too large", async () => {
    const one = start({ conflict: "reject" });
    await one.create("k", { user: "ann", text: "x".repeat(2_000), n: 1 });
    const { tracked, fields } = await one.load("k");
    await start({ prefix: one.prefix }).change("k", { n: 2 });
    await expect(one.sessions.commit(tracked, { ...fields, user: "bob", n: 3 })).rejects.toThrow();
    await one.create("b", { user: "bob" });
    const small = start({ prefix: one.prefix, maxBytes: 1_000 });
    expect(await small.sessions.destroyForUser("bob")).toBe(1);
    expect(await one.sessions.load("k")).toBeDefined();
  });
});

it("S7: two rotations with a grace in one request keep requests under way signed in", async () => {
  const { sessions, create, load } = start();
  await create("a", { user: "ann" });
  const { tracked, fields } = await load("a");
  const first = await sessions.rotate(tracked, fields, { newId: "b", graceMs });
  if (!first) throw new Error("the session was there");
  await sessions.rotate(first.tracked, first.fields, { newId: "c", graceMs });
  for (const id of ["a", "b", "c"]) expect((await load(id)).tracked.id).toBe("c");
});
