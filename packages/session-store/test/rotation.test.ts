import { describe, expect, it } from "vitest";
import type { SessionsOptions } from "../src/index.ts";
import { failureOf, startEngine } from "./harness/engine.ts";
import { intercept, itOnRedis, livingKeys, testClient } from "./harness/redis.ts";

const client = testClient();
const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string | undefined;
const start = (options: Partial<SessionsOptions> = {}) => startEngine(client, { userOf, ...options });
const graceMs = 10_000;

describe("S7: a session gets another id", () => {
  it("with its fields, its birth and what was changed; the old id is dead at once", async () => {
    const { sessions, create, load, data, prefix, counted } = start();
    await create("old", { user: "ann", n: 1 });
    const { tracked, fields } = await load("old");
    const [before] = await sessions.listForUser("ann");
    const rotated = await sessions.rotate(tracked, { ...fields, n: 2 }, { newId: "new" });
    expect(rotated?.tracked.id).toBe("new");
    expect(await sessions.load("old")).toBeUndefined();
    expect(await data("new")).toEqual({ user: "ann", n: 2 });
    const listed = await sessions.listForUser("ann");
    expect(listed.map(({ handle }) => handle)).toEqual([sessions.handleOf("new")]);
    expect(listed[0]?.createdAt).toEqual(before?.createdAt);
    expect(counted("rotated")).toEqual([{ type: "rotated", handle: sessions.handleOf("old") }]);
    expect(await livingKeys(client, prefix)).toHaveLength(1);
    expect(await sessions.commit(tracked, { ...fields, n: 3 })).toBe("gone");
  });

  it("and for a grace the old id leads to it: reads, changes, uses and sign-outs alike", async () => {
    const { sessions, create, load, change, data, prefix } = start();
    await create("old", { user: "ann" });
    const early = await load("old");
    const late = await load("old");
    await sessions.rotate(early.tracked, early.fields, { newId: "new", graceMs });
    expect((await load("old")).tracked.id).toBe("new");
    expect(await sessions.commit(late.tracked, { ...late.fields, late: true })).toBe("stored");
    await change("old", { more: true });
    expect(await data("new")).toEqual({ user: "ann", late: true, more: true });
    expect(await sessions.touch(early.tracked, { always: true })).toBe("unknown");
    const key = (await client.keys(`${prefix}h:*`)).find((name) => name.endsWith(sessions.handleOf("old"))) ?? "";
    expect(await client.pttl(key)).toBeLessThanOrEqual(graceMs);
    expect(await client.get(key)).not.toContain("new");
    await sessions.destroy("old");
    expect(await sessions.load("new")).toBeUndefined();
    expect(await sessions.listForUser("ann")).toEqual([]);
  });

  it("and is as old as before among its user's", async () => {
    const { sessions, create, load } = start({ maxPerUser: { sessions: 2, beyond: "oldest" } });
    await create("old", { user: "ann" });
    await create("other", { user: "ann" });
    const { tracked, fields } = await load("old");
    await sessions.rotate(tracked, fields, { newId: "new" });
    const listed = await sessions.listForUser("ann");
    expect(listed.map(({ handle }) => handle)).toEqual(["new", "other"].map((id) => sessions.handleOf(id)));
    await create("third", { user: "ann" });
    expect(await sessions.load("new")).toBeUndefined();
    expect(await sessions.load("other")).toBeDefined();
  });

  it("the grace is not for who knew the id before somebody signed in with it", async () => {
    const { sessions, create, load } = start();
    await create("fixed", {});
    const { tracked, fields } = await load("fixed");
    await sessions.rotate(tracked, { ...fields, user: "ann" }, { newId: "new", graceMs });
    expect(await sessions.load("fixed")).toBeUndefined();
    expect(await sessions.load("new")).toBeDefined();
  });

  it("a change of another request that comes first is merged in", async () => {
    const one = start();
    await one.create("old", { user: "ann", n: 1 });
    let isFirst = true;
    const racing = intercept(
      client,
      async (send) => {
        if (isFirst) await one.change("old", { theirs: true });
        isFirst = false;
        return send();
      },
      "commit",
    );
    const two = startEngine(racing, { userOf, prefix: one.prefix });
    const { tracked, fields } = await two.load("old");
    const rotated = await two.sessions.rotate(tracked, { ...fields, n: 2 }, { newId: "new", graceMs });
    expect(rotated?.fields).toMatchObject({ n: 2, theirs: true });
    expect(await one.data("new")).toEqual({ user: "ann", n: 2, theirs: true });
  });

  it("two requests that rotate at once both stay signed in, and nothing is lost", async () => {
    const one = start();
    const two = start({ prefix: one.prefix });
    for (let round = 0; round < 50; round += 1) {
      const [old, a, b] = [`old${round}`, `a${round}`, `b${round}`];
      await one.create(old, { user: `user${round}` });
      const [first, second] = [await one.load(old), await two.load(old)];
      await Promise.all([
        one.sessions.rotate(first.tracked, { ...first.fields, first: true }, { newId: a, graceMs }),
        two.sessions.rotate(second.tracked, { ...second.fields, second: true }, { newId: b, graceMs }),
      ]);
      const data = { user: `user${round}`, first: true, second: true };
      for (const id of [old, a, b]) expect(await one.data(id)).toEqual(data);
      expect(await one.sessions.listForUser(`user${round}`)).toHaveLength(1);
    }
  });

  it("a session that was destroyed meanwhile stays gone", async () => {
    const { sessions, create, load, prefix } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    await sessions.destroyForUser("ann");
    expect(await sessions.rotate(tracked, fields, { newId: "new", graceMs })).toBeUndefined();
    expect(await sessions.load("new")).toBeUndefined();
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("racing a log-out-everywhere it is gone, or came after", async () => {
    const { sessions, create, load } = start();
    const other = start();
    for (let round = 0; round < 100; round += 1) {
      await create(`old${round}`, { user: "ann" });
      const { tracked, fields } = await load(`old${round}`);
      await Promise.all([
        sessions.rotate(tracked, fields, { newId: `new${round}`, graceMs }),
        sessions.destroyForUser("ann"),
      ]);
      expect(await sessions.load(`new${round}`)).toBeUndefined();
      expect(await sessions.load(`old${round}`)).toBeUndefined();
    }
    expect(await other.sessions.listForUser("ann")).toEqual([]);
  });

  it("an id that is in use is refused, and nothing is changed", async () => {
    const { sessions, create, load, data } = start();
    await create("old", { user: "ann" });
    await create("taken", { user: "bob" });
    const { tracked, fields } = await load("old");
    expect((await failureOf(sessions.rotate(tracked, fields, { newId: "taken" }))).code).toBe("CONFLICT");
    expect(await data("old")).toEqual({ user: "ann" });
    expect(await data("taken")).toEqual({ user: "bob" });
  });

  it.each([{ userOf: undefined }, { ids: "plain" }] as const)(
    "a grace that can't be kept safe is an error: %o",
    async (options) => {
      const { sessions } = start(options);
      await expect(sessions.rotate(sessions.born("a"), {}, { newId: "b", graceMs })).rejects.toThrow(TypeError);
    },
  );
});

describe("S3: a destroyed id", () => {
  it("is not born again by a commit that was on its way", async () => {
    const { sessions, prefix } = start();
    await sessions.destroy("a");
    const other = start({ prefix });
    expect(await other.create("a", { user: "ann" })).toBe("gone");
    expect(await sessions.load("a")).toBeUndefined();
  });

  it("leaves nothing behind for longer than a commit can take", async () => {
    const { sessions, create, prefix } = start({ commitDeadlineMs: 1_000 });
    await create("a", {});
    await sessions.destroy("a");
    const [key = ""] = await client.keys(`${prefix}h:*`);
    expect(await client.get(key)).toBe("");
    expect(await client.pttl(key)).toBeGreaterThan(1_000);
    expect(await client.pttl(key)).toBeLessThanOrEqual(61_000);
  });

  itOnRedis("whatever stands under its key, it ends", async () => {
    const { sessions, prefix } = start({ ids: "plain" });
    await client.rpush(`${prefix}a`, "a list");
    await sessions.destroy("a");
    expect(await sessions.load("a")).toBeUndefined();
  });
});
