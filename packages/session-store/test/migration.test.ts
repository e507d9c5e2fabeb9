import { describe, expect, it } from "vitest";
import { livingKeys, intercept, testClient } from "./harness/redis.ts";
import { startEngine } from "./harness/engine.ts";

const client = testClient();
const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string | undefined;

/** A server at each step of the way from plain to hashed ids. */
function servers() {
  const plain = startEngine(client, { userOf, ids: "plain" });
  const { prefix } = plain;
  return {
    prefix,
    plain,
    ready: startEngine(client, { userOf, prefix, ids: "plain", migrateTo: "hashed" }),
    moving: startEngine(client, { userOf, prefix, ids: "hashed", migrateFrom: "plain" }),
    hashed: startEngine(client, { userOf, prefix, ids: "hashed" }),
  };
}

describe("sessions move from plain to hashed ids", () => {
  it("at their first use, and are found by the servers that are ready for it", async () => {
    const { plain, ready, moving, hashed, prefix } = servers();
    await plain.create("a", { user: "ann", n: 1 });
    await ready.change("a", { n: 2 });
    expect(await hashed.sessions.load("a")).toBeUndefined();
    expect(await moving.data("a")).toEqual({ user: "ann", n: 2 });
    expect(await hashed.data("a")).toEqual({ user: "ann", n: 2 });
    await ready.change("a", { n: 3 });
    await moving.change("a", { n: 4 });
    expect(await hashed.data("a")).toEqual({ user: "ann", n: 4 });
    expect(await hashed.sessions.listForUser("ann")).toHaveLength(1);
    // What is left under the plain key leads to the other for a while, and says nothing.
    expect(await client.get(`${prefix}a`)).toBe(">m");
    expect(await client.pttl(`${prefix}a`)).toBeLessThanOrEqual(63_500);
    await ready.create("b", { user: "ann" });
    await moving.create("c", { user: "ann" });
    expect(await ready.data("c")).toEqual({ user: "ann" });
    expect(await moving.sessions.destroyForUser("ann")).toBe(3);
    for (const id of ["a", "b", "c"])
      for (const server of [ready, moving]) expect(await server.sessions.load(id)).toBeUndefined();
  });

  it("keeps how long they live", async () => {
    const { plain, moving, prefix } = servers();
    await plain.create("a", {});
    await client.pexpire(`${prefix}a`, 5_000);
    expect((await moving.load("a")).tracked.remainingMs).toBeLessThanOrEqual(5_000);
    await client.set(`${prefix}b`, JSON.stringify({ cookie: { originalMaxAge: null }, n: 1 }));
    expect((await moving.load("b")).tracked.remainingMs).toBeUndefined();
  });

  it("a change that is under way when its session moves is merged, and none is lost", async () => {
    const { plain, ready, moving } = servers();
    for (let round = 0; round < 50; round += 1) {
      const id = `id${round}`;
      await plain.create(id, {});
      await Promise.all([
        ready.change(id, { a: 1 }),
        moving.change(id, { b: 1 }),
        ready.change(id, { c: 1 }),
        moving.change(id, { d: 1 }),
      ]);
      expect(await ready.data(id)).toEqual({ a: 1, b: 1, c: 1, d: 1 });
    }
  });

  it("a move that stops on the way is ended by whoever comes next", async () => {
    const { plain, ready, hashed, prefix } = servers();
    await plain.create("a", { n: 1 });
    let commits = 0;
    // The first commit is the one that decides; its server dies before the second.
    const dying = intercept(
      client,
      (send) => {
        commits += 1;
        return commits === 1 ? send() : Promise.reject(new Error("killed"));
      },
      "commit",
    );
    const killed = startEngine(dying, { userOf, prefix, ids: "hashed", migrateFrom: "plain" });
    await expect(killed.sessions.load("a")).rejects.toThrow();
    expect(await hashed.sessions.load("a")).toBeUndefined();
    expect(await ready.data("a")).toEqual({ n: 1 });
    expect(await hashed.data("a")).toEqual({ n: 1 });
  });

  it("one that is destroyed while it moves stays gone", async () => {
    const { plain, ready, moving, prefix } = servers();
    for (let round = 0; round < 100; round += 1) {
      const id = `id${round}`;
      await plain.create(id, { user: "ann" });
      await Promise.all([moving.sessions.load(id), (round % 2 ? ready : moving).sessions.destroy(id)]);
      for (const server of [ready, moving]) expect(await server.sessions.load(id)).toBeUndefined();
    }
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("and back", async () => {
    const { hashed, prefix } = servers();
    await hashed.create("a", { user: "ann", n: 1 });
    const ready = startEngine(client, { userOf, prefix, ids: "hashed", migrateTo: "plain" });
    const back = startEngine(client, { userOf, prefix, ids: "plain", migrateFrom: "hashed" });
    await back.change("a", { n: 2 });
    await ready.change("a", { n: 3 });
    const plain = startEngine(client, { userOf, prefix, ids: "plain" });
    expect(await plain.data("a")).toEqual({ user: "ann", n: 3 });
    expect(await plain.sessions.listForUser("ann")).toHaveLength(1);
  });
});
