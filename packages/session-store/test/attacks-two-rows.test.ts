import { beforeAll, describe, expect, it } from "vitest";
import { age, at, atCommand, loadScripts, lost, makeDue, starter } from "./harness/attacks.ts";
import { testClient } from "./harness/redis.ts";

// Sessions that have two rows in the index of their user for a while (S7, S8).

const client = testClient();
const start = starter(client);
const graceMs = 10_000;

beforeAll(() => loadScripts(client));

describe("S7, S8: a rotation whose server dies", () => {
  it.each([3, 4, 5])("locks nobody out who signs out by the old id and in again, before command %i", async (nth) => {
    const maxPerUser = { sessions: 1, beyond: "reject" } as const;
    const { create, load, prefix, sessions } = start({ maxPerUser });
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    const dying = starter(atCommand(client, (number) => number >= nth, lost))({ maxPerUser, prefix });
    await dying.sessions.rotate(tracked, fields, { newId: "new" }).catch(() => undefined);
    await sessions.destroy("old");
    expect.soft(await sessions.listForUser("ann")).toEqual([]);
    expect(await create("phone", { user: "ann" })).toBe("stored");
  });

  it("lets the way from its old id expire without telling that the session has", async () => {
    const { create, load, prefix, sessions } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    // Its row is not promoted.
    const dying = starter(at(client, "promote", () => true, lost))({ prefix });
    await dying.sessions.rotate(tracked, fields, { newId: "new", graceMs: 1 });
    await age(client, prefix);
    await expect.poll(() => client.exists(`${prefix}h:${sessions.handleOf("old")}`)).toBe(0);
    await makeDue(client, prefix);
    const { counted } = start({ prefix, sweepMs: 10 });
    await expect.poll(() => client.zcard(`${prefix}h:due`)).toBe(1);
    expect(await sessions.load("new")).toBeDefined();
    expect(counted("expired")).toEqual([]);
  });
});

describe("S7, S8: a session that two servers give a new id at once is one session of its user:", () => {
  /** Rotates `old` on a server of its own. `comes`: what comes before the sending of a script, by its name and its number, from 1. */
  async function rotate(
    one: ReturnType<typeof start>,
    newId: string,
    options: Parameters<typeof start>[0],
    comes: Record<string, Record<number, () => Promise<unknown>>>,
  ) {
    let own = client;
    for (const [verb, moments] of Object.entries(comes)) {
      own = at(
        own,
        verb,
        (nth) => nth in moments,
        async (send, nth) => {
          await moments[nth]?.();
          return send();
        },
      );
    }
    const { tracked, fields } = await one.load("old");
    return starter(own)({ ...options, prefix: one.prefix }).sessions.rotate(tracked, fields, { newId, graceMs });
  }

  /** Both have stored their drafts, and one of them has replaced the old record. */
  async function race<T>(
    ids: readonly [string, string],
    options: Parameters<typeof start>[0],
    meanwhile: (one: ReturnType<typeof start>) => Promise<T>,
  ) {
    const one = start(options);
    await one.create("old", { user: "ann" });
    let seen: T | undefined;
    const second = () =>
      rotate(one, ids[0], options, {
        promote: { 1: async () => (seen = await meanwhile(one).catch(() => undefined)) },
      });
    await rotate(one, ids[1], options, { commit: { 2: second } });
    return { ...one, seen };
  }

  const pairs = [
    ["a", "b"],
    ["b", "a"],
  ] as const;

  it.each(pairs)("it is listed once (%s, %s)", async (...ids) => {
    const { seen } = await race(ids, {}, ({ sessions }) => sessions.listForUser("ann"));
    expect(seen).toHaveLength(1);
  });

  it.each(pairs)("a sign-in within the limit does not end it (%s, %s)", async (...ids) => {
    const maxPerUser = { sessions: 2, beyond: "oldest" } as const;
    const { seen, sessions } = await race(ids, { maxPerUser }, ({ create }) => create("phone", { user: "ann" }));
    expect(seen).toBe("stored");
    expect(await sessions.load("old")).toBeDefined();
  });

  it("a sign-in within the limit is not refused", async () => {
    const maxPerUser = { sessions: 2, beyond: "reject" } as const;
    const one = start({ maxPerUser });
    await one.create("old", { user: "ann" });
    let seen: unknown;
    const first = () => rotate(one, "a", { maxPerUser }, {});
    const signIn = async () => {
      seen = await one.create("phone", { user: "ann" }).catch((error: unknown) => error);
    };
    await rotate(one, "b", { maxPerUser }, { admit: { 1: first }, commit: { 2: signIn } });
    expect(seen).toBe("stored");
  });
});

describe("S8: a session that moves to hashed ids is one session of its user,", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("which a sign-in within the limit does not end, before command %i", async (nth) => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = {
      prefix: plain.prefix,
      migrateFrom: "plain",
      maxPerUser: { sessions: 2, beyond: "oldest" },
    } as const;
    const one = start(options);
    const moving = atCommand(
      client,
      (number) => number === nth,
      async (send) => {
        expect(await one.create("phone", { user: "ann" })).toBe("stored");
        return send();
      },
    );
    await starter(moving)(options).sessions.load("k");
    expect(await one.sessions.load("k")).toBeDefined();
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("and is listed as that, before command %i", async (nth) => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann", n: 1 });
    const options = { prefix: plain.prefix, migrateFrom: "plain" } as const;
    const { sessions } = start(options);
    let seen: unknown = [{ handle: sessions.handleOf("k"), fields: { user: "ann", n: 1 } }];
    const moving = atCommand(
      client,
      (number) => number === nth,
      async (send) => {
        seen = await sessions.listForUser("ann");
        return send();
      },
    );
    await starter(moving)(options).sessions.load("k");
    expect(seen).toMatchObject([{ handle: sessions.handleOf("k"), fields: { user: "ann", n: 1 } }]);
    expect(seen).toHaveLength(1);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("and refuses no sign-in within the limit, before command %i", async (nth) => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = {
      prefix: plain.prefix,
      migrateFrom: "plain",
      maxPerUser: { sessions: 2, beyond: "reject" },
    } as const;
    const one = start(options);
    let seen: unknown = "stored";
    const moving = atCommand(
      client,
      (number) => number === nth,
      async (send) => {
        seen = await one.create("phone", { user: "ann" }).catch((error: unknown) => error);
        return send();
      },
    );
    await starter(moving)(options).sessions.load("k");
    expect(seen).toBe("stored");
  });
});
