import { inspect } from "node:util";
import { Redis } from "ioredis";
import { beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import type { SessionsOptions } from "../src/index.ts";
import { age, at, clockAhead, loadScripts, makeDue, notSent, starter } from "./harness/attacks.ts";
import { cookie, failureOf } from "./harness/engine.ts";
import { cutListeners } from "./harness/listeners.ts";
import { barrier, restrictedClient, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
const start = starter(client);
const never = () => new Promise(() => undefined);
beforeAll(() => loadScripts(client));

/** A client set as an app may have set its own, closed after the test. */
function clientWith(options: Parameters<Redis["duplicate"]>[0]): Redis {
  const own = client.duplicate(options);
  onTestFinished(() => {
    own.disconnect();
  });
  return own;
}

describe("a session that nearly became another user's", () => {
  /** Ann's session `k`: a request that would have made it Bob's has failed. */
  async function failedSwitch() {
    const one = start({ conflict: "reject" });
    await one.create("k", { user: "ann", n: 1 });
    const { tracked, fields } = await one.load("k");
    await one.change("k", { n: 2 });
    const refused = one.sessions.commit(tracked, { ...fields, user: "bob", n: 3 });
    expect((await failureOf(refused)).code).toBe("CONFLICT");
    return one;
  }

  it("is not ended with that user's sessions", async () => {
    const { sessions, data } = await failedSwitch();
    expect(await sessions.destroyForUser("bob")).toBe(0);
    expect(await data("k")).toEqual({ user: "ann", n: 2 });
  });

  it("is not ended by that user's limit", async () => {
    const { prefix, data } = await failedSwitch();
    const limited = start({ prefix, maxPerUser: { sessions: 1, beyond: "oldest" } });
    await limited.create("b", { user: "bob" });
    expect(await data("k")).toEqual({ user: "ann", n: 2 });
  });

  it("or did, while the index could not be told, is not ended with the former user's", async () => {
    const one = start();
    await one.create("k", { user: "ann" });
    const two = start({ client: at(client, "trim", () => true, notSent), prefix: one.prefix });
    await two.change("k", { user: "bob" });
    expect(two.counted("index-failed")).toHaveLength(1);
    expect(await one.sessions.destroyForUser("ann")).toBe(0);
    expect(await one.data("k")).toEqual({ user: "bob" });
  });
});

describe("a user's id", () => {
  it.each(["a\ud800", { id: 1 }, Number.NaN, ""])("that could be taken for another's is refused: %j", async (user) => {
    const { create, sessions } = start();
    expect((await failureOf(create("k", { user }))).code).toBe("INVALID_SESSION");
    expect(await sessions.load("k")).toBeUndefined();
    await expect(sessions.listForUser(user as string)).rejects.toThrow(TypeError);
    await expect(sessions.destroyForUser(user as string)).rejects.toThrow(TypeError);
  });
});

describe("ending one session, or all but one", () => {
  it("spares the present one also where it is named by the id it had a moment ago", async () => {
    const { create, load, sessions } = start();
    await create("other", { user: "ann" });
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    await sessions.rotate(tracked, fields, { newId: "new", graceMs: 10_000 });
    expect(await sessions.destroyForUser("ann", { except: "old" })).toBe(1);
    expect(await sessions.load("new")).toBeDefined();
  });

  it("by a handle that has been rotated since ends nothing, and says so", async () => {
    const { create, load, sessions } = start();
    await create("old", { user: "ann" });
    const [listed] = await sessions.listForUser("ann");
    const { tracked, fields } = await load("old");
    await sessions.rotate(tracked, fields, { newId: "new" });
    expect(await sessions.destroyForUser("ann", { only: listed?.handle ?? "" })).toBe(0);
    expect(await sessions.load("new")).toBeDefined();
  });
});

describe("a limit on a user's sessions", () => {
  it.each(["reject", "oldest"] as const)("holds for a sign-in that rotates: %s", async (beyond) => {
    const { create, load, sessions } = start({ maxPerUser: { sessions: 1, beyond } });
    const codes: string[] = [];
    for (const id of ["a", "b", "c"]) {
      await create(id, {});
      const { tracked, fields } = await load(id);
      const signIn = sessions.rotate(tracked, { ...fields, user: "ann" }, { newId: `${id}-new` });
      if (beyond === "reject" && id !== "a") codes.push((await failureOf(signIn)).code);
      else await signIn;
    }
    const expected = beyond === "reject" ? "a-new" : "c-new";
    expect((await sessions.listForUser("ann")).map(({ handle }) => handle)).toEqual([sessions.handleOf(expected)]);
    expect(codes).toEqual(beyond === "reject" ? ["TOO_MANY_SESSIONS", "TOO_MANY_SESSIONS"] : []);
  });

  it("leaves nothing of a refused sign-in that could be told as an expiry", async () => {
    const { create, prefix } = start({ maxPerUser: { sessions: 1, beyond: "reject" } });
    await create("a", { user: "ann" });
    const before = await client.zrange(`${prefix}h:due`, 0, "-1");
    await failureOf(create("b", { user: "ann" }));
    expect(await client.zrange(`${prefix}h:due`, 0, "-1")).toEqual(before);
  });

  it("does not count sessions that are past their absolute limit", async () => {
    const { create } = start({ absoluteMs: 60_000, maxPerUser: { sessions: 1, beyond: "reject" } });
    await create("a", { user: "ann" });
    clockAhead(60_001);
    expect(await create("b", { user: "ann" })).toBe("stored");
  });

  it("of two sign-ins at once, of which the later fails, leaves one", async () => {
    const maxPerUser = { sessions: 1, beyond: "oldest" } as const;
    const prefix = uniquePrefix();
    let second: Promise<unknown> | undefined;
    const held = at(client, "commit", 1, async (send) => {
      await new Promise<void>((resolve) => {
        const failing = at(client, "commit", 1, async () => {
          resolve();
          await first;
          throw Object.assign(new Error("OOM"), { name: "ReplyError" });
        });
        second = failureOf(start({ client: failing, prefix, maxPerUser }).create("b", { user: "ann" }));
      });
      return send();
    });
    const one = start({ client: held, prefix, maxPerUser });
    const first = one.create("a", { user: "ann" });
    expect(await first).toBe("stored");
    expect(await second).toMatchObject({ code: "UNAVAILABLE" });
    expect(await one.sessions.load("a")).toBeDefined();
  });

  it("is kept behind the answer where the oldest can't be ended within a commit's deadline", async () => {
    const maxPerUser = { sessions: 1, beyond: "oldest" } as const;
    const deaf = at(client, "destroy", () => true, never);
    const { create, counted } = start({ client: deaf, maxPerUser, commitDeadlineMs: 100, commandDeadlineMs: 60_000 });
    await create("a", { user: "ann" });
    expect(await create("b", { user: "ann" })).toBe("stored");
    expect(counted("index-failed")).toHaveLength(1);
  });

  it("that nobody has set is 10,000", async () => {
    const { create, sessions, prefix } = start();
    const rows = Array.from({ length: 10_000 }, (_, n) => [
      Date.now() * 1_000 + n,
      `h:${sessions.handleOf(String(n))}`,
    ]).flat();
    await client.zadd(`${prefix}h:user:${sessions.handleOf("ann")}`, ...rows);
    await client.zadd(`${prefix}h:user:${sessions.handleOf("bob")}`, ...rows.slice(2));
    expect((await failureOf(create("a", { user: "ann" }))).code).toBe("TOO_MANY_SESSIONS");
    expect(await create("b", { user: "bob" })).toBe("stored");
  });
});

describe("an error", () => {
  it("and its causes hold no id and no value", async () => {
    const { sessions, prefix } = start({ ids: "plain" });
    await client.rpush(`${prefix}the-secret-id`, "a list");
    const work = sessions.commit(sessions.born("the-secret-id"), { cookie, card: "the-secret-value" });
    expect(inspect(await failureOf(work), { depth: 10 })).not.toMatch(/the-secret/);
  });

  it("of a commit over an unreadable record does not quote it", async () => {
    const { create, load, sessions, prefix } = start();
    await create("a", {});
    const { tracked, fields } = await load("a");
    await client.set(`${prefix}h:${sessions.handleOf("a")}`, "the-secret-value{");
    const error = await failureOf(sessions.commit(tracked, { ...fields, n: 1 }));
    expect(inspect(error, { depth: 10 })).not.toMatch(/the-secret/);
  });
});

describe("what would hang a request", () => {
  it("a sign-out comes through a thousand saves that wait", async () => {
    const { held, open } = barrier(client);
    const { create, sessions } = start({ client: held });
    const saves = Array.from({ length: 1_000 }, (_, n) => create("a", { n }));
    const ending = sessions.destroy("a");
    open();
    await Promise.allSettled(saves);
    await ending;
    expect(await sessions.load("a")).toBeUndefined();
  });

  it("commits that had no time left are no outage to everybody else", async () => {
    const deaf = at(client, "commit", (nth) => nth > 1, never);
    const { sessions, create, events, data } = start({ client: deaf, commitDeadlineMs: 100 });
    await create("other", { n: 1 });
    const late = Array.from({ length: 10 }, (_, n) => failureOf(create(`id${n}`, {})));
    expect((await Promise.all(late)).map(({ code }) => code)).toEqual(Array(10).fill("OUTCOME_UNKNOWN"));
    expect(events.filter(({ type }) => type === "breaker")).toEqual([]);
    expect(await data("other")).toEqual({ n: 1 });
    expect(sessions.counts()["commit-failed"]).toBe(10);
  });

  it("a listener to availability that throws fails no command in its own words", async () => {
    const away = new Redis({ port: 1, lazyConnect: true, enableOfflineQueue: false, retryStrategy: () => null });
    away.on("error", () => undefined);
    const { sessions } = start({ client: away });
    const told = vi.fn(() => {
      throw new Error("of the app");
    });
    sessions.onAvailability(told);
    for (let n = 0; n < 8; n += 1) expect((await failureOf(sessions.load("a"))).code).toBe("UNAVAILABLE");
    expect(told).toHaveBeenCalled();
  });
});

describe("events, whatever the app's client is set to,", () => {
  it.each([
    ["that does not subscribe again", { autoResubscribe: false }],
    ["that does not connect again", { retryStrategy: () => null }],
    ["that connects again at once", { retryStrategy: () => 1 }],
  ])("one %s: come after each cut of the connection", async (_kind, options) => {
    const prefix = uniquePrefix();
    const own = clientWith({ ...options, connectionName: prefix });
    const { sessions, create } = start({ client: own, prefix });
    const told: string[] = [];
    await sessions.subscribe(({ type }) => told.push(type));
    for (let cut = 0; cut < 3; cut += 1) {
      await cutListeners(client, prefix);
      await vi.waitFor(() => expect(told).toEqual(["missed"]), { timeout: 3_000, interval: 5 });
      // Whoever looks again now misses nothing that comes after.
      await create(`id${cut}`, {});
      await vi.waitFor(() => expect(told).toEqual(["missed", "created"]));
      told.length = 0;
    }
  });

  it("with a prefix of its own: come, and so does everything else", async () => {
    const own = clientWith({ keyPrefix: "kp*:" });
    const { sessions, create } = start({ client: own });
    const told: string[] = [];
    await sessions.subscribe(({ type }) => told.push(type));
    await create("a", { user: "ann" });
    expect(await sessions.listForUser("ann")).toHaveLength(1);
    await vi.waitFor(() => expect(told).toEqual(["created"]));
    await sessions.clear(100);
    expect(await sessions.load("a")).toBeUndefined();
    expect(await sessions.listForUser("ann")).toEqual([]);
  });

  it("are not begun again after close()", async () => {
    const { sessions } = start();
    sessions.close();
    expect((await failureOf(sessions.subscribe(() => undefined))).code).toBe("UNAVAILABLE");
  });
});

describe("an option", () => {
  it.each([
    ["sweepMs", 2 ** 31],
    ["commandDeadlineMs", 3e9],
    ["commitDeadlineMs", 3e9],
    ["encryption.rollout", { keys: [Buffer.alloc(32, 1)], rollout: "raed" }],
  ])("that can't be meant is refused: %s", (name, value) => {
    const options = { [name.split(".")[0] ?? ""]: value } as Partial<SessionsOptions>;
    expect(() => start(options)).toThrow(TypeError);
    expect(() => start(options)).toThrow(name);
  });

  it.each([{ idleMs: 1e20 }, { commitDeadlineMs: 1_000.5 }])(
    "beyond what Redis takes does no harm: %o",
    async (options) => {
      const { sessions, load } = start(options);
      const session = { cookie: { ...cookie, originalMaxAge: null }, user: "ann" };
      expect(await sessions.commit(sessions.born("old"), session)).toBe("stored");
      const { tracked, fields } = await load("old");
      expect(await sessions.rotate(tracked, fields, { newId: "new" })).toBeDefined();
      expect(await sessions.load("new")).toBeDefined();
    },
  );

  it.each([Infinity, Number.NaN, -1])("a grace of %d is none", async (graceMs) => {
    const { create, load, data, sessions } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    await expect(sessions.rotate(tracked, fields, { newId: "new", graceMs })).rejects.toThrow(TypeError);
    expect(await data("old")).toEqual({ user: "ann" });
  });

  it("a fraction of a millisecond of grace does no harm", async () => {
    const { create, load, sessions } = start();
    await create("old", { user: "ann" });
    const { tracked, fields } = await load("old");
    expect(await sessions.rotate(tracked, fields, { newId: "new", graceMs: 5_000.5 })).toBeDefined();
    expect((await load("old")).tracked.id).toBe("new");
  });

  it("an absolute limit counts from birth also where a session is overwritten", async () => {
    const { create, load, sessions } = start({ absoluteMs: 60_000 });
    await create("a", { user: "ann" });
    const { endsAt } = (await load("a")).tracked;
    clockAhead(5_000);
    await sessions.overwrite("a", { cookie, user: "ann" });
    expect((await load("a")).tracked.endsAt).toBe(endsAt);
  });
});

describe("the sweep", () => {
  it("is not held up by rows that it may not look at", async () => {
    const { create, sessions, prefix } = start({ ids: "plain" });
    await create("good", { user: "ann" });
    await client.del(`${prefix}good`);
    await age(client, prefix);
    await makeDue(client, prefix);
    // A whole batch, due before it.
    const due = Array.from({ length: 100 }, (_, n) => [0, `${sessions.handleOf("bob")} bad${n}`]).flat();
    await client.zadd(`${prefix}h:due`, ...due);
    const { restricted, allow, end } = await restrictedClient(client);
    onTestFinished(end);
    for (const rule of ["resetkeys", `~${prefix}h:*`, `~${prefix}good`]) await allow(rule);
    const { counted } = start({ client: restricted, prefix, ids: "plain", sweepMs: 20 });
    await vi.waitFor(() => {
      expect(counted("expired")).toEqual([{ type: "expired", handle: sessions.handleOf("good") }]);
    }, 5_000);
    expect(counted("index-failed").length).toBeGreaterThanOrEqual(100);
  });

  it("leaves in the index what a commit stores later than it should have ended", async () => {
    const one = start({ sweepMs: 10 });
    const slow = at(client, "commit", 1, async (send) => {
      await vi.waitFor(async () => {
        const [, score] = await client.zrange(`${one.prefix}h:due`, 0, "0", "WITHSCORES");
        expect(Number(score)).toBeGreaterThan(Date.now() + 10_000); // looked at, and put off
      }, 3_000);
      return send();
    });
    const two = start({ client: slow, prefix: one.prefix, commandDeadlineMs: 3_000 });
    await two.create("a", { user: "ann", cookie: { ...cookie, originalMaxAge: 300 } });
    expect(await two.sessions.listForUser("ann")).toHaveLength(1);
  });

  it.each(["listForUser", "destroyForUser"] as const)("nor does %s on a server whose clock is ahead", async (verb) => {
    const one = start();
    const racing = at(client, "commit", 1, async (send) => {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 90_000 });
      try {
        await one.sessions[verb](verb === "listForUser" ? "ann" : "bob");
      } finally {
        vi.useRealTimers();
      }
      return send();
    });
    const two = start({ client: racing, prefix: one.prefix });
    await two.create("a", { user: "ann" });
    expect(await one.sessions.listForUser("ann")).toHaveLength(1);
  });

  it("ends what a client that reads numbers as text knows of", async () => {
    const own = clientWith({ stringNumbers: true });
    const { create, sessions, counted, prefix } = start({ client: own, sweepMs: 20 });
    await create("a", { user: "ann", cookie: { ...cookie, originalMaxAge: 300 } });
    const [listed] = await sessions.listForUser("ann");
    expect(listed?.expiresAt?.getTime()).toBeLessThan(Date.now() + 60_000);
    await age(client, prefix);
    await vi.waitFor(() => {
      expect(counted("expired")).toHaveLength(1);
    }, 3_000);
  });

  it.each([60_000, null])("tells of a life that was %s ms, and was made shorter, when that ends", async (maxAge) => {
    const { create, change, counted, prefix } = start({ sweepMs: 20, idleMs: Infinity });
    await create("a", { user: "ann", cookie: { ...cookie, originalMaxAge: maxAge } });
    await change("a", { cookie: { ...cookie, originalMaxAge: 200 } });
    await age(client, prefix);
    await vi.waitFor(() => {
      expect(counted("expired")).toHaveLength(1);
    }, 3_000);
  });
});

it("a session whose idle limit can't be decided hides none of the user's others", async () => {
  const one = start();
  await one.create("a", { user: "ann" });
  await one.create("b", { user: "ann", isOdd: true });
  const two = start({ prefix: one.prefix, idleMs: ({ isOdd }) => (isOdd ? Number.NaN : 60_000) });
  const listed = await two.sessions.listForUser("ann");
  expect(listed.map(({ handle }) => handle)).toEqual(["a", "b"].map((id) => one.sessions.handleOf(id)));
});
