import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { sum } from "../src/index.ts";
import { answerLost, at, cutAt, jitter, loadScripts, starter, twice, unreliable } from "./harness/attacks.ts";
import { failureOf } from "./harness/engine.ts";
import { livingKeys, testClient } from "./harness/redis.ts";

const client = testClient();
const start = starter(client);
beforeAll(() => loadScripts(client));

describe("a change that was stored though its answer was lost", () => {
  it("is not what later changes are merged from, once one of them is confirmed", async () => {
    const resolve = { "/n": sum };
    const one = start({ resolve });
    await one.create("k", { list: [], n: 0 });
    const two = start({ client: at(client, "commit", 1, answerLost), prefix: one.prefix, resolve });
    const { tracked, fields } = await two.load("k");
    const session: Record<string, unknown> = { ...fields, list: ["a"], n: 1 };
    expect((await failureOf(two.sessions.commit(tracked, session))).code).toBe("OUTCOME_UNKNOWN");
    Object.assign(session, { list: ["a", "b"], n: 2 });
    expect(await two.sessions.commit(tracked, session)).toBe("stored");
    await one.change("k", { list: ["a", "b", "theirs"], n: 3 });
    Object.assign(session, { list: ["a", "b", "c"], n: 3 });
    await two.sessions.commit(tracked, session);
    expect(await one.data("k")).toEqual({ list: ["a", "b", "theirs", "c"], n: 4 });
  });

  it("is not either where one commit meets two of others", async () => {
    const one = start();
    await one.create("k", { list: [] });
    const others: Record<number, string[]> = { 2: ["a", "x"], 3: ["a", "x", "y"] };
    const racing = at(
      at(client, "commit", 1, answerLost),
      "commit",
      (nth) => nth in others,
      async (send, nth) => {
        await one.change("k", { list: others[nth] });
        return send();
      },
    );
    const two = start({ client: racing, prefix: one.prefix });
    const { tracked, fields } = await two.load("k");
    await failureOf(two.sessions.commit(tracked, { ...fields, list: ["a"] }));
    await two.sessions.commit(tracked, { ...fields, list: ["a", "b"] });
    expect(await one.data("k")).toEqual({ list: ["a", "x", "y", "b"] });
  });

  it("is in the session once when it gets another id", async () => {
    const one = start();
    await one.create("k", { list: [] });
    const two = start({ client: at(client, "commit", 1, answerLost), prefix: one.prefix });
    const { tracked, fields } = await two.load("k");
    const session = { ...fields, list: ["a"] };
    await failureOf(two.sessions.commit(tracked, session));
    const rotated = await two.sessions.rotate(tracked, session, { newId: "new" });
    expect(rotated?.fields.list).toEqual(["a"]);
    expect(await one.data("new")).toEqual({ list: ["a"] });
  });
});

describe("a script that the client sends twice", () => {
  it.each([
    ["the swap", 2, 0],
    ["the swap", 2, 10_000],
    ["the new record", 1, 0],
    ["the new record", 1, 10_000],
  ])(
    "of a rotation, %s (sending %d), with a grace of %d ms: the session has the new id",
    async (_which, nth, graceMs) => {
      const one = start();
      await one.create("old", { user: "ann" });
      const two = start({ client: at(client, "commit", nth, twice), prefix: one.prefix });
      const { tracked, fields } = await two.load("old");
      const rotated = await two.sessions.rotate(tracked, fields, { newId: "new", graceMs });
      expect(rotated?.tracked.id).toBe("new");
      expect(await one.data("new")).toEqual({ user: "ann" });
      expect(await one.sessions.listForUser("ann")).toHaveLength(1);
    },
  );

  it("of a birth: one session is told of, and no merge", async () => {
    const one = start({ client: at(client, "commit", 1, twice) });
    await one.create("a", {});
    expect(one.counted("created")).toHaveLength(1);
    expect(one.counted("merged")).toEqual([]);
  });
});

describe("a rotation", () => {
  it("that merges is counted as a merge", async () => {
    const one = start();
    await one.create("old", { n: 1 });
    const { tracked, fields } = await one.load("old");
    await one.change("old", { n: 2 });
    await one.sessions.rotate(tracked, { ...fields, n: 3 }, { newId: "new" });
    expect(one.counted("merged")).toEqual([{ type: "merged", conflicts: ["/n"] }]);
  });

  it("that is refused for a conflict leaves no copy alive", async () => {
    const one = start({ conflict: "reject" });
    await one.create("old", { user: "ann", n: 1 });
    const { tracked, fields } = await one.load("old");
    await one.change("old", { n: 2 });
    const refused = one.sessions.rotate(tracked, { ...fields, n: 3 }, { newId: "new" });
    expect((await failureOf(refused)).code).toBe("CONFLICT");
    expect(await one.sessions.listForUser("ann")).toHaveLength(1);
    expect(await livingKeys(client, one.prefix)).toHaveLength(1);
  });

  it("and five more within the grace: the first id still leads to the session", async () => {
    const one = start();
    await one.create("id0", { user: "ann" });
    for (let n = 0; n < 6; n += 1) {
      const { tracked, fields } = await one.load(`id${n}`);
      await one.sessions.rotate(tracked, fields, { newId: `id${n + 1}`, graceMs: 10_000 });
    }
    expect((await one.load("id0")).tracked.id).toBe("id6");
  });
});

describe("a connection that is cut when Redis has answered, and a client that sends again by itself", () => {
  it.each([0, 10_000])("a rotation with a grace of %d ms gives the session its new id", async (graceMs) => {
    const one = start();
    await one.create("old", { user: "ann" });
    const two = start({ client: await cutAt(client, "commit", 2), prefix: one.prefix });
    const { tracked, fields } = await two.load("old");
    const rotated = await two.sessions.rotate(tracked, fields, { newId: "new", graceMs });
    expect(rotated?.tracked.id).toBe("new");
    expect(await one.data("new")).toEqual({ user: "ann" });
  });

  it("a sign-out by an id that was rotated a moment ago ends the session", async () => {
    const one = start();
    await one.create("old", { user: "ann" });
    const { tracked, fields } = await one.load("old");
    await one.sessions.rotate(tracked, fields, { newId: "new", graceMs: 10_000 });
    const two = start({ client: await cutAt(client, "destroy", 1), prefix: one.prefix });
    await two.sessions.destroy("old");
    expect(await one.sessions.load("new")).toBeUndefined();
  });

  it("a change is stored once", async () => {
    const one = start();
    await one.create("a", { list: [] });
    const two = start({ client: await cutAt(client, "commit", 1), prefix: one.prefix });
    expect(await two.change("a", { list: [1] })).toBe("stored");
    expect(await one.data("a")).toEqual({ list: [1] });
  });
});

it("servers at different steps of a migration, over an unreliable line, store every change once and end what was ended", async () => {
  const steps = fc.array(fc.record({ server: fc.nat(2), startsAt: fc.nat(4) }), { minLength: 5, maxLength: 5 });
  const dice = fc.infiniteStream(fc.nat(19));
  const property = fc.asyncProperty(steps, fc.option(fc.nat(2)), dice, async (changes, destroyer, rolls) => {
    const flaky = unreliable(client, rolls);
    const first = start({ client: flaky, ids: "plain", migrateTo: "hashed" });
    const moving = { client: flaky, prefix: first.prefix, migrateFrom: "plain" } as const;
    const servers = [first, start(moving), start(moving)];
    const serverAt = (server: number) => servers[server] ?? first;
    await first.create("k", { user: "ann", list: [] });
    const stored: string[] = [];
    const change = async ({ server, startsAt }: { server: number; startsAt: number }, n: number) => {
      await jitter(startsAt);
      const { sessions } = serverAt(server);
      const tracked = await sessions.load("k");
      if (!tracked) return;
      const fields = sessions.read(tracked) ?? {};
      const list = [...(fields.list as string[]), `item${n}`];
      if ((await sessions.commit(tracked, { ...fields, list })) === "stored") stored.push(`item${n}`);
    };
    const ending = destroyer === null ? undefined : jitter(2).then(() => serverAt(destroyer).sessions.destroy("k"));
    await Promise.all([...changes.map(change), ending]);
    for (const { sessions, data } of servers) {
      if (destroyer !== null) {
        expect(await sessions.load("k")).toBeUndefined();
        continue;
      }
      expect(((await data("k")).list as string[]).toSorted()).toEqual(stored.toSorted());
      expect(await sessions.listForUser("ann")).toHaveLength(1);
    }
  });
  await fc.assert(property, { numRuns: 80, endOnFailure: true });
});
