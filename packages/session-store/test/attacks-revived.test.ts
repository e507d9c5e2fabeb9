import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { SessionsOptions } from "../src/index.ts";
import {
  age,
  answerLost,
  at,
  clockAhead,
  cutAt,
  forget,
  jitter,
  loadScripts,
  lost,
  makeDue,
  notSent,
  starter,
  twice,
  unreliable,
} from "./harness/attacks.ts";
import { cookie, failureOf } from "./harness/engine.ts";
import { intercept, livingKeys, testClient } from "./harness/redis.ts";

const client = testClient();
const start = starter(client);
const graceMs = 10_000;
const ended = { ...cookie, originalMaxAge: 0 };
beforeAll(() => loadScripts(client));

/** Ann's session, whose id was `old` until a moment ago and is `new`. */
async function rotated() {
  const one = start();
  await one.create("old", { user: "ann" });
  const late = await one.load("old");
  const { tracked, fields } = await one.load("old");
  await one.sessions.rotate(tracked, fields, { newId: "new", graceMs });
  return { ...one, late };
}

/** No key of these outlives everything. */
async function expectNoneImmortal(prefix: string): Promise<void> {
  const keys = (await client.keys(`${prefix}*`)).filter((key) => !/h:(?:user:|due)/.test(key));
  for (const key of keys) expect(await client.pttl(key)).not.toBe(-1);
}

describe("a sign-out", () => {
  it("by an id that was rotated a moment ago, sent twice, ends the session", async () => {
    const { prefix, sessions } = await rotated();
    const two = start({ client: at(client, "destroy", 1, twice), prefix });
    await two.sessions.destroy("old");
    expect(await sessions.load("new")).toBeUndefined();
  });

  it("by such an id that fails half way can be tried again", async () => {
    const { prefix, sessions } = await rotated();
    const two = start({ client: at(client, "destroy", 2, notSent), prefix });
    await failureOf(two.sessions.destroy("old"));
    await two.sessions.destroy("old");
    expect(await sessions.load("new")).toBeUndefined();
  });

  it("whose answer was lost is not told of as an expiry, and lists nothing", async () => {
    const { create, prefix } = start();
    await create("a", { user: "ann" });
    const two = start({ client: at(client, "destroy", 1, twice), prefix });
    await two.sessions.destroy("a");
    expect(await two.sessions.listForUser("ann")).toEqual([]);
    await age(client, prefix);
    await makeDue(client, prefix);
    const sweeping = start({ prefix, sweepMs: 10 });
    await expect.poll(() => client.exists(`${prefix}h:due`)).toBe(0);
    expect(sweeping.counted("expired")).toEqual([]);
  });

  it("whose answer was lost with its connection, so that it was sent again, is told of and leaves no row", async () => {
    const { create, prefix } = start();
    await create("a", { user: "ann" });
    const two = start({ client: await cutAt(client, "destroy", 1), prefix });
    await two.sessions.destroy("a");
    expect(two.counted("destroyed")).toHaveLength(1);
    expect(await client.exists(`${prefix}h:due`)).toBe(0);
    expect(await client.keys(`${prefix}h:user:*`)).toEqual([]);
  });

  it("whose answer was lost, and that nobody sends again, is remembered until a sweep has looked at its row", async () => {
    const { create, sessions, prefix } = start();
    await create("a", { user: "ann" });
    const sweepMs = 600_000;
    const two = start({ client: at(client, "destroy", 1, answerLost), prefix, sweepMs });
    expect((await failureOf(two.sessions.destroy("a"))).code).toBe("OUTCOME_UNKNOWN");
    const [, dueAt] = await client.zrange(`${prefix}h:due`, 0, "-1", "WITHSCORES");
    const rememberedMs = await client.pttl(`${prefix}h:${sessions.handleOf("a")}`);
    expect(Date.now() + rememberedMs).toBeGreaterThan(Number(dueAt) + sweepMs);
    await age(client, prefix);
    await makeDue(client, prefix);
    const sweeping = start({ prefix, sweepMs: 10 });
    await expect.poll(() => client.exists(`${prefix}h:due`)).toBe(0);
    expect(sweeping.counted("expired")).toEqual([]);
  });

  it("that is a life of 0 is told of, and leaves no row", async () => {
    const { create, change, counted, prefix } = start();
    await create("a", { user: "ann" });
    await change("a", { cookie: ended });
    expect(await client.zcard(`${prefix}h:due`)).toBe(0);
    expect(counted("destroyed")).toHaveLength(1);
  });

  it("that is a life of 0, by a request that knows an id rotated since, ends the session", async () => {
    const { sessions, late } = await rotated();
    await sessions.commit(late.tracked, { ...late.fields, cookie: ended });
    expect(await sessions.load("new")).toBeUndefined();
  });
});

describe("a session that ended by a limit", () => {
  it("of its idleness is gone to a rotation, which leaves nothing for ever", async () => {
    const { create, load, sessions, prefix } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    expect(await sessions.rotate(tracked, { ...fields, cookie: ended }, { newId: "new" })).toBeUndefined();
    for (const id of ["old", "new"]) expect(await sessions.load(id)).toBeUndefined();
    await expectNoneImmortal(prefix);
  });

  it("of its age is gone to a touch, a commit and a rotation that loaded it before", async () => {
    const { create, load, sessions } = start({ absoluteMs: 60_000 });
    for (const id of ["a", "b", "c"]) await create(id, { user: "ann" });
    const [a, b, c] = [await load("a"), await load("b"), await load("c")];
    clockAhead(60_001);
    expect(await sessions.touch(a.tracked, { always: true })).toBe("gone");
    expect(await sessions.commit(b.tracked, { ...b.fields, n: 1 })).toBe("gone");
    expect(await sessions.rotate(c.tracked, c.fields, { newId: "new" })).toBeUndefined();
    for (const id of ["a", "b", "c", "new"]) expect(await sessions.load(id)).toBeUndefined();
  });
});

describe("an id that somebody knew before", () => {
  it("a sign-in whose answer was lost does not lead to the new one", async () => {
    const one = start();
    await one.create("fixed", {});
    const two = start({ client: at(client, "commit", 1, answerLost), prefix: one.prefix });
    const { tracked, fields } = await two.load("fixed");
    const session = { ...fields, user: "ann" };
    await failureOf(two.sessions.commit(tracked, session));
    expect(await two.sessions.rotate(tracked, session, { newId: "new", graceMs })).toBeDefined();
    expect(await one.sessions.load("fixed")).toBeUndefined();
    expect(await one.data("new")).toEqual({ user: "ann" });
  });
});

describe("a log-out-everywhere", () => {
  it("does not say that it is done while a session rotates each time it comes", async () => {
    const one = start();
    await one.create("id0", { user: "ann" });
    const racing = at(
      client,
      "destroy",
      () => true,
      async (send, nth) => {
        const { tracked, fields } = await one.load(`id${nth - 1}`);
        await one.sessions.rotate(tracked, fields, { newId: `id${nth}` });
        return send();
      },
    );
    const two = start({ client: racing, prefix: one.prefix });
    expect((await failureOf(two.sessions.destroyForUser("ann"))).code).toBe("UNAVAILABLE");
    await one.sessions.destroyForUser("ann");
    expect(await livingKeys(client, one.prefix)).toEqual([]);
  });

  it("that a rotation meets makes it gone", async () => {
    const one = start();
    await one.create("old", { user: "ann" });
    const racing = at(client, "commit", 1, async (send) => {
      await one.sessions.destroyForUser("ann");
      return send();
    });
    const two = start({ client: racing, prefix: one.prefix });
    const { tracked, fields } = await two.load("old");
    expect(await two.sessions.rotate(tracked, fields, { newId: "new" })).toBeUndefined();
    expect(await livingKeys(client, one.prefix)).toEqual([]);
  });
});

describe("a session that moves to hashed ids", () => {
  const moving = (prefix: string, options: Partial<SessionsOptions> = {}) =>
    start({ prefix, migrateFrom: "plain", ...options });

  /** Ann's session, whose move was begun and not ended. */
  async function leftHalfWay() {
    const { create, prefix } = start({ ids: "plain" });
    await create("k", { user: "ann" });
    const dying = moving(prefix, { client: at(client, "commit", (nth) => nth > 1, lost) });
    expect((await failureOf(dying.sessions.load("k"))).code).toBe("OUTCOME_UNKNOWN");
    expect(await client.get(`${prefix}k`)).toMatch(/^>m./);
    return prefix;
  }

  it("and signs in meanwhile is listed, and ended for good by a log-out-everywhere", async () => {
    const plain = start({ ids: "plain", migrateTo: "hashed" });
    await plain.create("k", {});
    const racing = at(client, "commit", 1, async (send) => {
      await plain.change("k", { user: "ann" });
      return send();
    });
    const hashed = moving(plain.prefix, { client: racing });
    expect(await hashed.data("k")).toEqual({ user: "ann" });
    expect(await hashed.sessions.listForUser("ann")).toHaveLength(1);
    await hashed.sessions.destroyForUser("ann");
    await forget(client, plain.prefix);
    expect(await hashed.sessions.load("k")).toBeUndefined();
  });

  it("but has not yet is ended by clear()", async () => {
    const { create, prefix } = start({ ids: "plain" });
    await create("k", { user: "ann" });
    const { sessions } = moving(prefix);
    await sessions.clear(100);
    expect(await sessions.load("k")).toBeUndefined();
  });

  it("and was left half way is ended by clear(), and told of once", async () => {
    const prefix = await leftHalfWay();
    const { sessions, counted } = start({ prefix, ids: "plain", migrateTo: "hashed" });
    await sessions.clear(100);
    expect(await sessions.load("k")).toBeUndefined();
    expect(counted("destroyed")).toHaveLength(1);
  });

  it("and was left half way is ended by a log-out-everywhere, counted and told of once", async () => {
    const prefix = await leftHalfWay();
    const { sessions, counted } = moving(prefix);
    expect(await sessions.destroyForUser("ann")).toBe(1);
    expect(counted("destroyed")).toHaveLength(1);
    await forget(client, prefix);
    expect(await sessions.load("k")).toBeUndefined();
  });

  it("and was ended so long before its move arrives that this is forgotten stays ended", async () => {
    const { create, prefix } = start({ ids: "plain" });
    await create("k", { user: "ann" });
    const other = moving(prefix);
    const slow = at(client, "commit", 2, async (send) => {
      await other.sessions.destroy("k");
      await forget(client, prefix);
      return send();
    });
    expect(await moving(prefix, { client: slow }).sessions.load("k")).toBeUndefined();
    expect(await other.sessions.load("k")).toBeUndefined();
  });

  it("in the last millisecond of its life does not live for ever", async () => {
    const { create, prefix } = start({ ids: "plain" });
    await create("k", { user: "ann" });
    const dying = at(client, "load", 1, async (send) => {
      const [raw] = (await send()) as [string, number];
      return [raw, 0];
    });
    await moving(prefix, { client: dying }).sessions.load("k");
    await expectNoneImmortal(prefix);
  });

  it("is used where it is while Redis refuses writes", async () => {
    const { create, prefix } = start({ ids: "plain" });
    await create("k", { user: "ann" });
    const full = intercept(
      client,
      () => Promise.reject(Object.assign(new Error("OOM command not allowed"), { name: "ReplyError" })),
      "commit",
    );
    expect(await moving(prefix, { client: full }).data("k")).toEqual({ user: "ann" });
  });
});

describe.each([
  ["hashed ids", {}, {}],
  ["ids that move", { ids: "plain", migrateTo: "hashed" }, { migrateFrom: "plain" }],
] as const)("%s: whatever requests do at once", (_name, ofFirst, ofOthers) => {
  const canLead = !("ids" in ofFirst);
  const step = fc.record({
    server: fc.nat(2),
    startsAt: fc.nat(4),
    action: fc.constantFrom("commit", "commit", "rotate", "rotate", "end", "list"),
    user: fc.constantFrom("ann", "bob", undefined),
    grace: fc.constantFrom(0, canLead ? 5_000 : 0),
  });

  it("what lives is listed, and a log-out-everywhere ends it for good", async () => {
    const steps = fc.array(step, { minLength: 6, maxLength: 6 });
    const dice = fc.infiniteStream(fc.integer({ min: 3, max: 19 }));
    const property = fc.asyncProperty(steps, fc.boolean(), dice, async (requests, isSignedIn, rolls) => {
      const slow = unreliable(client, rolls);
      const first = start({ client: slow, ...ofFirst });
      const others = { client: slow, prefix: first.prefix, ...ofOthers };
      const servers = [first, start(others), start(others)];
      await first.create("k", isSignedIn ? { user: "ann" } : {});
      await Promise.all(
        requests.map(async ({ server, startsAt, action, user, grace }, n) => {
          await jitter(startsAt);
          const { sessions } = servers[server] ?? first;
          if (action === "end") return sessions.destroyForUser(user ?? "ann");
          if (action === "list") return sessions.listForUser(user ?? "ann");
          const tracked = await sessions.load("k");
          if (!tracked) return;
          const session = { ...sessions.read(tracked), user, [`n${n}`]: 1 };
          if (action === "commit") return sessions.commit(tracked, session);
          return sessions.rotate(tracked, session, { newId: `id${n}`, graceMs: grace });
        }),
      );
      const living = async () => {
        const users: [handle: string, user: string][] = [];
        for (const id of ["k", ...requests.map((_, n) => `id${n}`)]) {
          for (const { sessions } of servers) {
            const tracked = await sessions.load(id);
            const user = tracked && (sessions.read(tracked)?.user as string | undefined);
            if (user !== undefined) users.push([sessions.handleOf(tracked?.id ?? ""), user]);
          }
        }
        return users;
      };
      for (const [handle, user] of await living()) {
        expect((await first.sessions.listForUser(user)).map((listed) => listed.handle)).toContain(handle);
      }
      for (const user of ["ann", "bob"]) await first.sessions.destroyForUser(user);
      await forget(client, first.prefix);
      expect(await living()).toEqual([]);
    });
    await fc.assert(property, { numRuns: 40, endOnFailure: true });
  });
});

describe("S3: what a destroyed session leaves", () => {
  it("does not live longer for every time that it is destroyed again", async () => {
    const { create, prefix, sessions } = start();
    await create("k", { user: "ann" });
    const key = `${prefix}h:${sessions.handleOf("k")}`;
    await sessions.destroy("k");
    const lifeMs = await client.pttl(key);
    for (let count = 0; count < 5; count += 1) await sessions.destroy("k");
    expect(await client.pttl(key)).toBeLessThanOrEqual(lifeMs);
  });

  it("nor where there never was one", async () => {
    const { prefix, sessions } = start();
    for (let count = 0; count < 10; count += 1) await sessions.destroy("nobody's");
    expect(await client.pttl(`${prefix}h:${sessions.handleOf("nobody's")}`)).toBeLessThanOrEqual(64_000);
  });
});
