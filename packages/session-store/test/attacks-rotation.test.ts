import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { age, at, atCommand, loadScripts, lost, makeDue, rowsOf, starter } from "./harness/attacks.ts";
import { intercept, testClient } from "./harness/redis.ts";

// What independent reviewers tried against rotation and the index, once the first findings were mended.

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

describe("S7, S8: a session that is being given a new id is one session of its user, whatever its server has sent so far:", () => {
  beforeAll(() => loadScripts(client));

  /** The commands of a rotation, and one more than there are. */
  const commands = [1, 2, 3, 4, 5, 6, 7];
  const graces = [0, graceMs];

  /** Rotates ann's session `old` to `new`; `meanwhile` comes before the command of that number, or at the end. */
  async function rotate(
    nth: number,
    grace: number,
    meanwhile: (one: ReturnType<typeof start>) => Promise<void>,
    options: Parameters<typeof start>[0] = {},
  ) {
    const one = start(options);
    await one.create("old", { user: "ann" });
    let isDue = true;
    const come = async () => {
      if (isDue) await meanwhile(one);
      isDue = false;
    };
    const racing = atCommand(
      client,
      (number) => number === nth,
      async (send) => {
        await come();
        return send();
      },
    );
    const { tracked, fields } = await one.load("old");
    const two = starter(racing)({ ...options, prefix: one.prefix });
    const rotated = await two.sessions.rotate(tracked, fields, { newId: "new", graceMs: grace });
    await come();
    return { ...one, rotated };
  }

  for (const beyond of ["reject", "oldest"] as const) {
    it.each(commands)(
      `a sign-in within the limit is signed in and ends nothing, beyond it: ${beyond}, before command %i`,
      async (nth) => {
        const signIn = async ({ create }: ReturnType<typeof start>) => {
          expect(await create("phone", { user: "ann" })).toBe("stored");
        };
        const maxPerUser = { sessions: 2, beyond };
        const { rotated, sessions } = await rotate(nth, graceMs, signIn, { maxPerUser });
        expect(rotated).toBeDefined();
        for (const id of ["new", "phone"]) expect(await sessions.load(id)).toBeDefined();
        expect(await sessions.listForUser("ann")).toHaveLength(2);
      },
    );

    it.each(commands)(
      `a sign-in beyond the limit is one too many, beyond it: ${beyond}, before command %i`,
      async (nth) => {
        const signIn = async ({ create }: ReturnType<typeof start>) => {
          await create("phone", { user: "ann" }).catch(() => undefined);
        };
        const maxPerUser = { sessions: 1, beyond };
        const { prefix, sessions } = await rotate(nth, graceMs, signIn, { maxPerUser });
        const [kept, ended] = beyond === "reject" ? ["new", "phone"] : ["phone", "new"];
        expect(await sessions.load(kept)).toBeDefined();
        expect(await sessions.load(ended)).toBeUndefined();
        expect(await rowsOf(client, prefix)).toHaveLength(2);
      },
    );
  }

  for (const grace of graces) {
    it.each(commands)(`all but this spares it, by its old id, grace ${grace} ms, before command %i`, async (nth) => {
      const endOthers = async ({ create, sessions }: ReturnType<typeof start>) => {
        await create("phone", { user: "ann" });
        expect(await sessions.destroyForUser("ann", { except: "old" })).toBe(1);
      };
      const { rotated, sessions } = await rotate(nth, grace, endOthers);
      expect(rotated).toBeDefined();
      expect(await sessions.load("new")).toBeDefined();
      expect(await sessions.load("phone")).toBeUndefined();
      expect(await sessions.listForUser("ann")).toHaveLength(1);
      if (grace > 0) expect((await sessions.load("old"))?.id).toBe("new");
    });
  }

  it.each(commands)("a log-out-everywhere ends it, and says that it was one, before command %i", async (nth) => {
    const endAll = async ({ sessions }: ReturnType<typeof start>) => {
      expect(await sessions.destroyForUser("ann")).toBe(1);
    };
    const { prefix, sessions } = await rotate(nth, graceMs, endAll);
    for (const id of ["old", "new"]) expect(await sessions.load(id)).toBeUndefined();
    expect(await sessions.listForUser("ann")).toEqual([]);
    expect(await rowsOf(client, prefix)).toEqual([]);
  });

  it.each(commands)("it is ended by its handle, before command %i", async (nth) => {
    const end = async ({ sessions }: ReturnType<typeof start>) => {
      const [only] = await sessions.listForUser("ann");
      expect(await sessions.destroyForUser("ann", { only: only?.handle })).toBe(1);
    };
    const { sessions } = await rotate(nth, graceMs, end);
    for (const id of ["old", "new"]) expect(await sessions.load(id)).toBeUndefined();
  });

  it.each(commands)("it is listed once, before command %i", async (nth) => {
    await rotate(nth, graceMs, async ({ sessions }) => {
      expect(await sessions.listForUser("ann")).toHaveLength(1);
    });
  });

  it.each(commands)("it is so though that server dies, before command %i", async (nth) => {
    const maxPerUser = { sessions: 2, beyond: "reject" } as const;
    const { create, load, prefix, sessions } = start({ maxPerUser });
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    const dying = starter(atCommand(client, (number) => number >= nth, lost))({ maxPerUser, prefix });
    await dying.sessions.rotate(tracked, fields, { newId: "new", graceMs }).catch(() => undefined);
    expect(await create("phone", { user: "ann" })).toBe("stored");
    expect(await sessions.listForUser("ann")).toHaveLength(2);
    expect(await sessions.destroyForUser("ann", { except: "old" })).toBe(1);
    expect((await sessions.load("old")) ?? (await sessions.load("new"))).toBeDefined();
    expect(await sessions.destroyForUser("ann")).toBe(1);
    for (const id of ["old", "new"]) expect(await sessions.load(id)).toBeUndefined();
    await age(client, prefix);
    await makeDue(client, prefix);
    start({ prefix, sweepMs: 10 });
    await expect.poll(() => rowsOf(client, prefix)).toEqual([]);
  });

  it.each(commands)("so it is though it is given another at once, before command %i", async (nth) => {
    const rotateToo = async ({ load, sessions }: ReturnType<typeof start>) => {
      const { tracked, fields } = await load("old");
      await sessions.rotate(tracked, fields, { newId: "newer", graceMs });
    };
    const maxPerUser = { sessions: 1, beyond: "reject" } as const;
    const { prefix, sessions } = await rotate(nth, graceMs, rotateToo, { maxPerUser });
    expect((await sessions.load("old"))?.id).toBe((await sessions.load("new"))?.id);
    expect(await rowsOf(client, prefix)).toHaveLength(2);
  });
});

describe("S7, S8: a sign-in by a rotation, which another request's sign-in of the same session comes before,", () => {
  /** The anonymous session `old` becomes ann's by a rotation; another request makes it ann's as it is. */
  async function race<T>(
    options: Parameters<typeof start>[0],
    meanwhile: (one: ReturnType<typeof start>) => Promise<T>,
  ) {
    const one = start(options);
    await one.create("old", {});
    const { tracked, fields } = await one.load("old");
    let commits = 0;
    let seen: Promise<T> | undefined;
    const racing = at(
      client,
      "commit",
      () => true,
      async (send) => {
        commits += 1;
        // 1: the draft; 2: the swap, which finds another record; 3: the draft again; 4: the swap.
        if (commits === 2) await one.change("old", { user: "ann" });
        if (commits === 4) await (seen = meanwhile(one)).catch(() => undefined);
        return send();
      },
    );
    const two = starter(racing)({ ...options, prefix: one.prefix });
    await two.sessions.rotate(tracked, { ...fields, user: "ann" }, { newId: "new", graceMs });
    if (!seen) throw new Error("nothing came in between");
    return { ...one, seen: await seen };
  }

  it("is listed once", async () => {
    const { seen } = await race({}, ({ sessions }) => sessions.listForUser("ann"));
    expect(seen).toHaveLength(1);
  });

  it("counts once", async () => {
    const maxPerUser = { sessions: 2, beyond: "reject" } as const;
    const { seen } = await race({ maxPerUser }, ({ create }) => create("phone", { user: "ann" }));
    expect(seen).toBe("stored");
  });

  it("is not ended by a sign-in within the limit", async () => {
    const maxPerUser = { sessions: 2, beyond: "oldest" } as const;
    const { sessions, seen } = await race({ maxPerUser }, ({ create }) => create("phone", { user: "ann" }));
    expect(seen).toBe("stored");
    expect((await sessions.load("old")) ?? (await sessions.load("new"))).toBeDefined();
  });

  it("leaves no row that nobody ever removes", async () => {
    const { prefix } = await race({}, ({ sessions }) => sessions.destroy("old"));
    await age(client, prefix);
    await makeDue(client, prefix);
    start({ prefix, sweepMs: 10 });
    await expect.poll(() => rowsOf(client, prefix)).toEqual([]);
  });
});
