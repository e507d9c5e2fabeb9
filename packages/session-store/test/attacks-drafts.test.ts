import { beforeAll, describe, expect, it } from "vitest";
import { age, answerLost, at, atCommand, loadScripts, lost, makeDue, notSent, starter } from "./harness/attacks.ts";
import { testClient } from "./harness/redis.ts";
import type { Redis } from "ioredis";

// What rotations and moves that did not end, or ended at a bad moment, leave in the index (S7, S8).

const client = testClient();
const start = starter(client);

beforeAll(() => loadScripts(client));

/** The same client; `then` comes once, after the next listing of an index. */
function afterRows(then: () => Promise<unknown>): Redis {
  let isDone = false;
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== "zrange" || typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        const rows = (await Reflect.apply(value, target, args)) as unknown;
        if (!isDone) {
          isDone = true;
          await then();
        }
        return rows;
      };
    },
  });
}

describe("S7, S8: a rotation that has left its draft behind", () => {
  const maxPerUser = { sessions: 1, beyond: "reject" } as const;

  /** Ann's session, whose rotation stored its draft and did not reach the old record. */
  async function left() {
    const one = start({ maxPerUser });
    await one.create("old", { user: "ann" });
    const { tracked, fields } = await one.load("old");
    const dying = starter(at(client, "commit", 2, lost))({ maxPerUser, prefix: one.prefix });
    await dying.sessions.rotate(tracked, fields, { newId: "new" }).catch(() => undefined);
    return one;
  }

  it("locks nobody out who signs out by giving the session no user, and in again", async () => {
    const { change, create, prefix, sessions } = await left();
    await age(client, prefix);
    expect(await change("old", { user: undefined })).toBe("stored");
    await sessions.destroy("old");
    expect.soft(await sessions.listForUser("ann")).toEqual([]);
    expect(await create("phone", { user: "ann" })).toBe("stored");
  });

  it("locks nobody out whose session was then given a new id and another user", async () => {
    const { create, load, prefix, sessions } = await left();
    await age(client, prefix);
    const { tracked, fields } = await load("old");
    await sessions.rotate(tracked, { ...fields, user: "bob" }, { newId: "bobs" });
    expect.soft(await sessions.listForUser("ann")).toEqual([]);
    expect(await create("phone", { user: "ann" })).toBe("stored");
  });

  it("locks nobody out who signs out twice, since the first answer was lost, and in again", async () => {
    const { create, prefix, sessions } = await left();
    await age(client, prefix);
    const second = starter(at(client, "destroy", 1, answerLost))({ maxPerUser, prefix });
    await second.sessions.destroy("old").catch(() => undefined);
    await sessions.destroy("old");
    expect.soft(await sessions.listForUser("ann")).toEqual([]);
    expect(await create("phone", { user: "ann" })).toBe("stored");
  });
});

describe("S7, S8: a listing misses no session that goes on elsewhere after the rows were read:", () => {
  it("under another id, twice, the first time on a server that died before it said so", async () => {
    const { create, load, prefix, sessions } = start();
    await create("old", { user: "ann" });
    const first = await load("old");
    const dying = starter(at(client, "promote", () => true, lost))({ prefix });
    await dying.sessions.rotate(first.tracked, first.fields, { newId: "new" });
    const rotated = async () => {
      const { tracked, fields } = await load("new");
      await sessions.rotate(tracked, fields, { newId: "newer" });
    };
    const listing = starter(afterRows(rotated))({ prefix });
    expect(await listing.sessions.listForUser("ann")).toMatchObject([{ handle: sessions.handleOf("newer") }]);
  });

  it("in another place", async () => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = { prefix: plain.prefix, migrateFrom: "plain" } as const;
    const { sessions } = start(options);
    const listing = starter(afterRows(() => sessions.load("k")))(options);
    expect(await listing.sessions.listForUser("ann")).toMatchObject([{ handle: sessions.handleOf("k") }]);
  });

  it("in another place, where it has not arrived", async () => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = { prefix: plain.prefix, migrateFrom: "plain" } as const;
    const dying = starter(at(client, "commit", (nth) => nth > 1, lost))(options);
    const listing = starter(afterRows(() => dying.sessions.load("k").catch(() => undefined)))(options);
    expect(await listing.sessions.listForUser("ann")).toMatchObject([{ handle: plain.sessions.handleOf("k") }]);
  });
});

describe("S7, S8: the oldest session is that which began first,", () => {
  const maxPerUser = { sessions: 2, beyond: "oldest" } as const;

  it("and not a younger one that got a new id on a server that died before it said so", async () => {
    const one = start({ maxPerUser });
    await one.create("tablet", { user: "ann" });
    await one.create("old", { user: "ann" });
    const { tracked, fields } = await one.load("old");
    const dying = starter(at(client, "promote", () => true, lost))({ maxPerUser, prefix: one.prefix });
    await dying.sessions.rotate(tracked, fields, { newId: "new" });
    await makeDue(client, one.prefix);
    const due = `${one.prefix}h:due`;
    start({ maxPerUser, prefix: one.prefix, sweepMs: 10 });
    await expect.poll(() => client.zcount(due, "-inf", 1)).toBe(0); // the sweep has been
    const { sessions } = one;
    const order = (await sessions.listForUser("ann")).map(({ handle }) => handle);
    expect.soft(order).toEqual([sessions.handleOf("tablet"), sessions.handleOf("new")]);
    await one.create("phone", { user: "ann" });
    expect.soft(await sessions.load("new")).toBeDefined();
    expect(await sessions.load("tablet")).toBeUndefined();
  });

  it("whichever of two requests at once moves it to hashed ids", async () => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = { prefix: plain.prefix, migrateFrom: "plain", maxPerUser } as const;
    const one = start(options);
    await one.create("tablet", { user: "ann" });
    // The other request has read the session where it was.
    const late = starter(
      at(client, "admit", 1, async (send) => {
        await one.sessions.load("k");
        return send();
      }),
    )(options);
    expect(await late.sessions.load("k")).toBeDefined();
    const order = (await one.sessions.listForUser("ann")).map(({ handle }) => handle);
    expect.soft(order).toEqual([one.sessions.handleOf("k"), one.sessions.handleOf("tablet")]);
    await one.create("phone", { user: "ann" });
    expect(await one.sessions.load("tablet")).toBeDefined();
  });
});

describe("S7, S8: no row is left that the sweep will never look at,", () => {
  /** Rows of users' indexes that are not among those to be looked at. */
  async function forgotten(prefix: string): Promise<string[]> {
    const due = new Set((await client.zrange(`${prefix}h:due`, 0, "-1")).map((row) => row.replace(/^\S* /, "")));
    const keys = await client.keys(`${prefix}h:user:*`);
    const rows = (await Promise.all(keys.map((key) => client.zrange(key, 0, "-1")))).flat();
    return rows.map((row) => row.replace(/\{.*$/, "")).filter((row) => !due.has(row));
  }

  it.each([6])("by a move that somebody else has made, its server dead before command %i", async (nth) => {
    const plain = start({ ids: "plain" });
    await plain.create("k", { user: "ann" });
    const options = { prefix: plain.prefix, migrateFrom: "plain" } as const;
    const one = start(options);
    const dying = atCommand(
      client,
      (number) => number === 2 || number >= nth,
      async (send, number) => {
        if (number >= nth) return lost(send, number);
        await one.sessions.load("k");
        return send();
      },
    );
    await starter(dying)(options)
      .sessions.load("k")
      .catch(() => undefined);
    expect(await forgotten(plain.prefix)).toEqual([]);
  });

  it("by a rotation of a session whose row was lost, where the old record is not reached", async () => {
    const { create, load, prefix } = start();
    await create("old", { user: "ann" });
    for (const key of await client.keys(`${prefix}h:user:*`)) await client.del(key);
    const { tracked, fields } = await load("old");
    const second = starter(at(client, "commit", 2, notSent))({ prefix });
    await second.sessions.rotate(tracked, fields, { newId: "new" }).catch(() => undefined);
    expect(await forgotten(prefix)).toEqual([]);
  });
});

describe("S7, S8: of two rotations at once", () => {
  it.each([
    ["a", "b"],
    ["b", "a"],
  ])("the session ends as one (%s, %s)", async (winner, loser) => {
    const one = start();
    await one.create("old", { user: "ann" });
    const [first, second] = [await one.load("old"), await one.load("old")];
    let count: number | undefined;
    const winning = starter(
      at(client, "promote", 1, async (send) => {
        count = await one.sessions.destroyForUser("ann");
        return send();
      }),
    )({ prefix: one.prefix });
    const losing = starter(
      at(client, "commit", 2, async (send) => {
        await winning.sessions.rotate(second.tracked, second.fields, { newId: winner });
        return send();
      }),
    )({ prefix: one.prefix });
    await losing.sessions.rotate(first.tracked, first.fields, { newId: loser }).catch(() => undefined);
    expect.soft(count).toBe(1);
    expect(await one.sessions.load(winner)).toBeUndefined();
    expect(await one.sessions.load(loser)).toBeUndefined();
  });
});

describe("S7, S8: a rotation to an id that is in use changes nothing:", () => {
  it("both sessions are listed, and who ends the others ends the other", async () => {
    const { create, load, sessions } = start();
    await create("old", { user: "ann" });
    await create("phone", { user: "ann" });
    const { tracked, fields } = await load("old");
    await expect(sessions.rotate(tracked, fields, { newId: "phone" })).rejects.toThrow("nothing was changed");
    expect.soft(await sessions.listForUser("ann")).toHaveLength(2);
    await sessions.destroyForUser("ann", { except: "old" });
    expect(await sessions.load("phone")).toBeUndefined();
  });
});
