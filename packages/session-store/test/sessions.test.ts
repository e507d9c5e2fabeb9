import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type SessionEvent, type SessionsOptions, SessionStoreError, createSessions, sum } from "../src/index.ts";
import type { TrackedSession } from "../src/tracked-session.ts";
import { intercept, itOnRedis, livingKeys, restrictedClient, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
const cookie = { originalMaxAge: 60_000, expires: null, httpOnly: true, path: "/" };

function engine(options: Partial<SessionsOptions> = {}) {
  const prefix = uniquePrefix();
  const events: SessionEvent[] = [];
  const sessions = createSessions({ client, prefix, ids: "plain", onEvent: (event) => events.push(event), ...options });
  const load = async (id: string) => {
    const tracked = await sessions.load(id);
    if (!tracked) throw new Error("there is no such session");
    return { tracked, fields: sessions.read(tracked) ?? {} };
  };
  const create = (id: string, data: object) => sessions.commit(sessions.born(id), { cookie, ...data });
  const data = async (id: string) => {
    const { cookie: _cookie, ...rest } = (await load(id)).fields;
    return rest;
  };
  return { sessions, prefix, events, load, create, data };
}

async function failure(work: Promise<unknown>): Promise<SessionStoreError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionStoreError)) throw new Error("it did not fail as it should", { cause: error });
  return error;
}

describe("S1, S2: concurrent commits", () => {
  it("changes to different parts of one session all survive", async () => {
    const { load, create, data, sessions, events } = engine();
    await create("a", { kept: 0 });
    const requests = await Promise.all(Array.from({ length: 30 }, () => load("a")));
    await Promise.all(
      requests.map(({ tracked, fields }, index) => sessions.commit(tracked, { ...fields, [`key${index}`]: index })),
    );
    expect(Object.keys(await data("a"))).toHaveLength(31);
    expect(events.filter(({ type }) => type === "merged")).toHaveLength(29);
    expect(sessions.counts()).toMatchObject({ merged: 29, conflicts: 0 });
  });

  it("merge between engines, as between servers", async () => {
    const prefix = uniquePrefix();
    const servers = [engine({ prefix }), engine({ prefix }), engine({ prefix })];
    await servers[0]?.create("a", { cart: [] });
    await Promise.all(
      servers.flatMap(({ load, sessions }, server) =>
        Array.from({ length: 20 }, async (_, item) => {
          const { tracked, fields } = await load("a");
          await sessions.commit(tracked, { ...fields, cart: [...(fields.cart as string[]), `${server}-${item}`] });
        }),
      ),
    );
    const cart = (await servers[0]?.data("a"))?.cart as string[];
    expect(new Set(cart).size).toBe(60);
    expect(cart).toHaveLength(60);
  });

  it("the committer's object shows what was stored, in place", async () => {
    const { load, create, sessions } = engine();
    await create("a", { n: 1, cart: ["pen"], form: { left: 1 }, old: true });
    const [one, two] = [await load("a"), await load("a")];
    const { old: _old, ...fewer } = one.fields;
    await sessions.commit(one.tracked, { ...fewer, cart: ["pen", "theirs"], form: { left: 1, right: 2 } });
    const cart = two.fields.cart as string[];
    const session = { ...two.fields, mine: { at: new Date(0) } };
    cart.push("mine");
    const saved = sessions.commit(two.tracked, session);
    await saved;
    cart.push("later");
    expect(session).toMatchObject({ n: 1, cart: ["pen", "theirs", "mine", "later"], form: { left: 1, right: 2 } });
    expect(session).not.toHaveProperty("old");
    expect(session.mine.at).toBeInstanceOf(Date);
  });

  /** Forty requests on two servers add two items each: one, its commit, and some turns later another, and its commit. */
  const addWhileCommitting = async (turns: number) => {
    const prefix = uniquePrefix();
    const servers = [engine({ prefix }), engine({ prefix })];
    await servers[0]?.create("a", { cart: [] });
    await Promise.all(
      servers.flatMap(({ load, sessions }, server) =>
        Array.from({ length: 20 }, async (_, item) => {
          const { tracked, fields } = await load("a");
          const cart = fields.cart as unknown[];
          cart.push({ of: `${server}-${item}-1`, at: new Date() });
          const first = sessions.commit(tracked, fields);
          for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
          cart.push({ of: `${server}-${item}-2`, at: new Date() });
          await Promise.all([first, sessions.commit(tracked, fields)]);
        }),
      ),
    );
    const cart = (await servers[0]?.data("a"))?.cart as { of: string }[];
    expect(new Set(cart.map(({ of }) => of)).size).toBe(80);
    expect(cart).toHaveLength(80);
  };

  it("saves that a handler does not wait for lose nothing of others", async () => {
    await addWhileCommitting(0);
  });

  it("what a handler adds while its commit is under way loses nothing of others", async () => {
    // The commit has taken the cart as it was.
    await addWhileCommitting(3);
  });

  it("where both changed the same value the later wins, and is counted by its path", async () => {
    const { load, create, data, sessions, events } = engine();
    await create("a", { n: 1 });
    const [one, two] = [await load("a"), await load("a")];
    await sessions.commit(one.tracked, { ...one.fields, n: 2 });
    await sessions.commit(two.tracked, { ...two.fields, n: 3 });
    expect(await data("a")).toEqual({ n: 3 });
    expect(events).toContainEqual({ type: "merged", conflicts: ["/n"] });
    expect(sessions.counts().conflicts).toBe(1);
  });

  it('with conflict "reject" the later commit fails, and nothing of it is stored', async () => {
    const { load, create, data, sessions } = engine({ conflict: "reject" });
    await create("a", { n: 1 });
    const [one, two] = [await load("a"), await load("a")];
    await sessions.commit(one.tracked, { ...one.fields, n: 2 });
    const error = await failure(sessions.commit(two.tracked, { ...two.fields, n: 3, more: 1 }));
    expect(error).toMatchObject({ code: "CONFLICT", status: 409 });
    expect(error.message).toContain("/n");
    // The loser still builds on what it had loaded, so trying again can't overwrite the winner either.
    expect((await failure(sessions.commit(two.tracked, { ...two.fields, n: 3 }))).code).toBe("CONFLICT");
    expect(await data("a")).toEqual({ n: 2 });
  });

  it("a resolver decides for its path", async () => {
    const { load, create, data, sessions } = engine({ resolve: { "/visits": sum } });
    await create("a", { visits: 1 });
    const requests = await Promise.all([load("a"), load("a"), load("a")]);
    await Promise.all(requests.map(({ tracked, fields }) => sessions.commit(tracked, { ...fields, visits: 2 })));
    expect(await data("a")).toEqual({ visits: 4 });
  });

  it("an unchanged session is not written", async () => {
    const { load, create, sessions, prefix } = engine();
    await create("a", { n: 1 });
    const before = await client.get(`${prefix}a`);
    const { tracked, fields } = await load("a");
    expect(sessions.commitIfChanged(tracked, fields)).toBeUndefined();
    expect(await sessions.commit(tracked, fields)).toBe("unchanged");
    expect(await client.get(`${prefix}a`)).toBe(before);
  });

  it("a value set and set back in one request is unchanged", async () => {
    const { load, create, sessions } = engine();
    await create("a", { n: 1 });
    const { tracked, fields } = await load("a");
    await sessions.commit(tracked, { ...fields, n: 2 });
    expect(sessions.commitIfChanged(tracked, { ...fields, n: 2 })).toBeUndefined();
    expect(await sessions.commitIfChanged(tracked, fields)).toBe("stored");
  });

  it("a commit that is sent twice is stored once, whoever came in between", async () => {
    const { create, load, data, prefix, sessions } = engine();
    await create("a", { cart: ["cup"] });
    let between = async () => Promise.resolve<unknown>(undefined);
    const twice = intercept(client, async (send) => {
      await send();
      await between();
      return send();
    });
    const resending = engine({ client: twice, prefix });
    const mine = await resending.load("a");
    await resending.sessions.commit(mine.tracked, { ...mine.fields, cart: ["cup", "pen"] });
    await resending.create("b", { n: 1 });
    expect(await data("a")).toEqual({ cart: ["cup", "pen"] });
    expect(await data("b")).toEqual({ n: 1 });

    const again = await resending.load("a");
    between = async () => {
      const { tracked, fields } = await load("a");
      await sessions.commit(tracked, { ...fields, cart: [...(fields.cart as string[]), "theirs"] });
      between = () => Promise.resolve(undefined);
    };
    const session = { ...again.fields, cart: ["cup", "pen", "ink"] };
    await resending.sessions.commit(again.tracked, session);
    expect(await data("a")).toEqual({ cart: ["cup", "pen", "ink", "theirs"] });
    expect(session.cart).toEqual(["cup", "pen", "ink", "theirs"]);
  });

  it("commits of unknown outcome that did arrive are not applied again when they are tried again", async () => {
    const { create, load, data, prefix, sessions } = engine();
    await create("a", { cart: [] });
    const late = intercept(client, async (send) => {
      await send();
      await new Promise(() => undefined);
    });
    const losing = engine({ client: late, prefix, commandDeadlineMs: 50 });
    const { tracked, fields } = await load("a");
    const cart = fields.cart as string[];
    for (const item of ["pen", "ink"]) {
      cart.push(item);
      expect((await failure(losing.sessions.commit(tracked, fields))).code).toBe("OUTCOME_UNKNOWN");
    }
    const other = await load("a");
    await sessions.commit(other.tracked, { ...other.fields, cart: [...(other.fields.cart as string[]), "theirs"] });
    cart.push("cup");
    await sessions.commit(tracked, fields);
    expect(((await data("a")).cart as string[]).toSorted()).toEqual(["cup", "ink", "pen", "theirs"]);
  });

  it("a change of maxAge alone is stored", async () => {
    const { load, create, sessions, prefix } = engine();
    await create("a", {});
    const { tracked, fields } = await load("a");
    await sessions.commit(tracked, { ...fields, cookie: { ...cookie, originalMaxAge: 600_000 } });
    expect(await client.pttl(`${prefix}a`)).toBeGreaterThan(600_000);
  });
});

describe("S3: gone is gone", () => {
  it("a commit of a session that was destroyed meanwhile stores nothing", async () => {
    const { load, create, sessions, prefix, events } = engine();
    await create("a", { n: 1 });
    const { tracked, fields } = await load("a");
    await sessions.destroy("a");
    expect(await sessions.commit(tracked, { ...fields, n: 2 })).toBe("gone");
    expect(await livingKeys(client, prefix)).toEqual([]);
    expect(events.filter(({ type }) => type === "gone")).toHaveLength(1);
  });

  it("a touch creates nothing", async () => {
    const { load, create, sessions, prefix } = engine();
    await create("a", {});
    const { tracked } = await load("a");
    await sessions.destroy("a");
    expect(await sessions.touch(tracked, { always: true })).toBe("gone");
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("a session that is born does not replace another with its id", async () => {
    const { create, data } = engine();
    await create("a", { n: 1 });
    expect((await failure(create("a", { n: 2 }))).code).toBe("CONFLICT");
    expect(await data("a")).toEqual({ n: 1 });
  });

  it("a destroy comes after the saves that were begun before it", async () => {
    const { sessions, prefix } = engine();
    const saved = sessions.commit(sessions.born("a"), { cookie, n: 1 });
    await Promise.all([saved, sessions.destroy("a")]);
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("two saves of a session born in one request are one creation and one change", async () => {
    const { sessions, data } = engine();
    const tracked = sessions.born("a");
    const results = await Promise.all([
      sessions.commit(tracked, { cookie, n: 1 }),
      sessions.commit(tracked, { cookie, n: 2 }),
    ]);
    expect(results).toEqual(["stored", "stored"]);
    expect(await data("a")).toEqual({ n: 2 });
  });
});

describe("S5, S6: life", () => {
  const remaining = (prefix: string) => client.pttl(`${prefix}a`);

  it("a record lives for its maxAge and a tenth", async () => {
    const { create, prefix } = engine();
    await create("a", {});
    expect(await remaining(prefix)).toSatisfy((ms: number) => ms > 65_000 && ms <= 66_000);
  });

  it("without maxAge it lives for idleMs and a tenth", async () => {
    const { sessions, prefix } = engine({ idleMs: 10_000 });
    await sessions.commit(sessions.born("a"), { cookie: { ...cookie, originalMaxAge: null } });
    expect(await remaining(prefix)).toSatisfy((ms: number) => ms > 10_000 && ms <= 11_000);
  });

  it("a touch is sent only when the last one is a tenth of the idle limit old", async () => {
    const { create, load, sessions, prefix } = engine();
    await create("a", {});
    expect(await sessions.touch((await load("a")).tracked)).toBe("unknown");
    await client.pexpire(`${prefix}a`, 59_000);
    expect(await sessions.touch((await load("a")).tracked)).toBe("alive");
    expect(await remaining(prefix)).toBeGreaterThan(65_000);
  });

  it("a touch never shortens the life that another request gave", async () => {
    const { create, load, sessions, prefix } = engine();
    await create("a", {});
    const { tracked } = await load("a");
    await client.pexpire(`${prefix}a`, 900_000);
    await sessions.touch(tracked, { always: true });
    expect(await remaining(prefix)).toBeGreaterThan(800_000);
  });

  it("a touch does not rewrite the text", async () => {
    const { create, load, sessions, prefix } = engine();
    await create("a", {});
    const before = await client.get(`${prefix}a`);
    await sessions.touch((await load("a")).tracked, { always: true });
    expect(await client.get(`${prefix}a`)).toBe(before);
  });

  it("the absolute limit survives commits, and ends the session", async () => {
    const { create, load, sessions, prefix } = engine({ absoluteMs: 5_000 });
    await create("a", {});
    const { tracked, fields } = await load("a");
    await sessions.commit(tracked, { ...fields, n: 1 });
    expect(tracked.remainingMs).toBeLessThanOrEqual(5_000);
    expect((await load("a")).tracked.remainingMs).toBeLessThanOrEqual(5_000);
    const expired = createSessions({ client, prefix, ids: "plain", absoluteMs: 1 });
    await vi.waitFor(async () => {
      expect(await expired.load("a")).toBeUndefined();
    });
  });

  it("Infinity never ends, and 0 ends at once", async () => {
    const { create, prefix } = engine({ idleMs: (fields) => (fields.end ? 0 : Infinity) });
    await create("a", {});
    expect(await remaining(prefix)).toBe(-1);
    const other = engine({ idleMs: (fields) => (fields.end ? 0 : Infinity), prefix });
    const { tracked, fields } = await other.load("a");
    await other.sessions.commit(tracked, { ...fields, end: true });
    expect(await livingKeys(client, prefix)).toEqual([]);
  });

  it("the cookie's expiry is rebuilt from the record's remaining life", async () => {
    const { create, load, prefix } = engine();
    await create("a", {});
    await client.pexpire(`${prefix}a`, 30_000);
    const { expires } = (await load("a")).fields.cookie as { expires: string };
    expect(new Date(expires).getTime() - Date.now()).toSatisfy((ms: number) => ms > 28_000 && ms <= 30_000);
  });

  itOnRedis("reading costs one command", async () => {
    const { create, sessions } = engine();
    await create("a", { large: "x".repeat(10_000) });
    const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    const before = await calls();
    await sessions.load("a");
    expect((await calls()) - before).toBe(1);
  });
});

describe("S11: what can't be used", () => {
  it("a corrupt record is no session, is counted, and stays for inspection", async () => {
    const { sessions, prefix } = engine();
    await client.set(`${prefix}a`, '{"broken', "PX", 60_000);
    const tracked = (await sessions.load("a")) as TrackedSession;
    expect(sessions.read(tracked)).toBeUndefined();
    expect(await sessions.touch(tracked)).toBe("unknown");
    expect(sessions.counts().corrupt).toBe(2); // at the read and at the touch
    expect(await client.get(`${prefix}a`)).toBe('{"broken');
  });

  it.each(["", "x".repeat(513), "a{b}", "}"])("an id that no session can have reads nothing: %j", async (id) => {
    const { sessions } = engine();
    expect(await sessions.load(id)).toBeUndefined();
    expect((await failure(sessions.commit(sessions.born(id), { cookie }))).code).toBe("INVALID_SESSION");
  });

  it("a session that is too large is refused, and what was stored stays", async () => {
    const { create, load, data, sessions } = engine({ maxBytes: 500 });
    await create("a", { n: 1 });
    const { tracked, fields } = await load("a");
    const error = await failure(sessions.commit(tracked, { ...fields, large: "é".repeat(250) }));
    expect(error.code).toBe("TOO_LARGE");
    expect(await data("a")).toEqual({ n: 1 });
  });

  it("a session that can't be serialised is refused", async () => {
    const { sessions } = engine();
    const circular: Record<string, unknown> = { cookie };
    circular.self = circular;
    expect((await failure(sessions.commit(sessions.born("a"), circular))).code).toBe("INVALID_SESSION");
    expect((await failure(sessions.commit(sessions.born("a"), { cookie, n: 1n }))).code).toBe("INVALID_SESSION");
  });

  it.each([
    [{ client: {} }, "client"],
    [{ ids: "hash" }, "ids"],
    [{ idleMs: 0 }, "idleMs"],
    [{ idleMs: Number.NaN }, "idleMs"],
    [{ absoluteMs: -1 }, "absoluteMs"],
    [{ commandDeadlineMs: Number.POSITIVE_INFINITY }, "commandDeadlineMs"],
    [{ conflict: "later" }, "conflict"],
    [{ atomicPaths: ["cart"] }, "cart"],
  ])("a mistaken option is a TypeError that names it: %o", (options, name) => {
    const mistaken = { client, ...options } as SessionsOptions;
    expect(() => createSessions(mistaken)).toThrow(TypeError);
    expect(() => createSessions(mistaken)).toThrow(name);
  });
});

describe("G9: ids in Redis", () => {
  it("a hashed id stands nowhere in Redis", async () => {
    const { sessions, prefix } = engine({ ids: "hashed" });
    await sessions.commit(sessions.born("the-secret-id"), { cookie, n: 1 });
    const keys = await client.keys(`${prefix}*`);
    expect(keys).toEqual([expect.stringMatching(/:h:[\w-]{43}$/)]);
    expect(await client.get(keys[0] ?? "")).not.toContain("the-secret-id");
    expect(await sessions.load("the-secret-id")).toBeDefined();
    const handle = keys[0]?.split(":h:")[1] ?? "";
    expect(await sessions.load(handle)).toBeUndefined();
    const plain = engine({ ids: "plain", prefix });
    expect(await plain.sessions.load(`h:${handle}`)).toBeUndefined();
    await sessions.destroy(handle);
    expect(await sessions.load("the-secret-id")).toBeUndefined();
  });
});

describe("S10: Redis fails", () => {
  it("a server that does not answer costs the deadline, and no more", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const port = (silent.address() as AddressInfo).port;
    const deaf = new Redis({
      port,
      host: "127.0.0.1",
      enableReadyCheck: false,
      retryStrategy: () => null,
      protocol: 2,
    });
    deaf.on("error", () => undefined);
    onTestFinished(() => {
      deaf.disconnect();
      silent.close();
    });
    const { sessions } = engine({ client: deaf, commandDeadlineMs: 100 });
    const startedAt = performance.now();
    expect(await failure(sessions.load("a"))).toMatchObject({
      code: "UNAVAILABLE",
      status: 503,
      headers: { "Retry-After": "1" },
    });
    expect((await failure(sessions.commit(sessions.born("b"), { cookie }))).code).toBe("OUTCOME_UNKNOWN");
    expect((await failure(sessions.destroy("c"))).code).toBe("OUTCOME_UNKNOWN");
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(sessions.counts()["commit-failed"]).toBe(1);
  });

  it("a client that is not connected is not asked", async () => {
    const gone = new Redis({ port: 1, host: "127.0.0.1", lazyConnect: true, retryStrategy: () => null, protocol: 2 });
    gone.on("error", () => undefined);
    await gone.connect().catch(() => undefined);
    const { sessions } = engine({ client: gone });
    const error = await failure(sessions.commit(sessions.born("a"), { cookie }));
    expect(error.code).toBe("UNAVAILABLE");
    expect(error.message).toContain("not connected");
  });

  itOnRedis("a command that Redis refuses was not run, and the message holds no value", async () => {
    const { restricted, allow, end } = await restrictedClient(client);
    onTestFinished(end);
    const { sessions } = engine({ client: restricted });
    await allow("-get");
    const error = await failure(sessions.load("secret-id"));
    expect(error).toMatchObject({ code: "UNAVAILABLE" });
    expect(error.message).toContain("Redis refused the load of sessions");
    expect(error.message).not.toContain("secret-id");
    expect((await failure(sessions.commit(sessions.born("secret-id"), { cookie }))).code).toBe("UNAVAILABLE");
  });

  it("saves that waited until their deadline say that they were not tried", async () => {
    const { prefix } = engine();
    const stuck = intercept(client, () => new Promise(() => undefined));
    const { sessions } = engine({ client: stuck, prefix, commandDeadlineMs: 150, commitDeadlineMs: 200 });
    const startedAt = performance.now();
    const codes = Array.from(
      { length: 5 },
      async () => (await failure(sessions.commit(sessions.born("a"), { cookie }))).code,
    );
    const all = await Promise.all(codes);
    expect([all[0], all.at(-1)]).toEqual(["OUTCOME_UNKNOWN", "UNAVAILABLE"]);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("a Redis that never answers some commands is asked again, and trusted again once it answers", async () => {
    let isDeaf = true;
    const deaf = intercept(client, (send) => (isDeaf ? new Promise(() => undefined) : send()));
    const { sessions } = engine({ client: deaf, commandDeadlineMs: 30 });
    const ends = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, n) => failure(sessions.destroy(`a${n}`))));
    const messages = (await ends(400)).concat(await ends(2)).map(({ message }) => message);
    expect(messages.filter((message) => message.includes("was not sent")).length).toBeGreaterThan(1);
    isDeaf = false;
    await expect
      .poll(() =>
        sessions.load("a").then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    expect(await Promise.all(Array.from({ length: 50 }, () => sessions.load("a")))).toHaveLength(50);
  });

  it("a listener that throws, or a limit that can't be decided, harms no request", async () => {
    const warned = new Promise((resolve) => process.once("warning", resolve));
    const { create, load, prefix } = engine();
    await create("a", { n: 1 });
    const careless = engine({
      prefix,
      idleMs: () => Number.NaN,
      onEvent: () => {
        throw new Error("in the listener");
      },
    });
    const { tracked, fields } = await load("a");
    expect(await careless.sessions.touch(tracked, { always: true })).toBe("unknown");
    expect((await failure(careless.sessions.commit(tracked, { ...fields, n: 2 }))).code).toBe("INVALID_SESSION");
    expect(String(await warned)).toContain("in the listener");
  });

  it("a touch that fails is reported, and nothing is thrown", async () => {
    const { create, load, prefix } = engine();
    await create("a", {});
    const { tracked } = await load("a");
    const broken = engine({ client: intercept(client, () => Promise.reject(new Error("the line is cut"))), prefix });
    expect(await broken.sessions.touch(tracked, { always: true })).toBe("unknown");
    expect(broken.events).toEqual([{ type: "touch-failed", error: expect.any(SessionStoreError) as Error }]);
  });
});

it("all sessions can be walked through and ended without saying in which steps", async () => {
  const { create, sessions } = engine();
  for (const id of ["a", "b"]) await create(id, {});
  const counted = { names: 0, all: 0 };
  for await (const batch of sessions.names()) counted.names += batch.length;
  for await (const batch of sessions.all()) counted.all += batch.length;
  expect(counted).toEqual({ names: 2, all: 2 });
  await sessions.clear();
  expect(await sessions.load("a")).toBeUndefined();
});
