import { isUtf8 } from "node:buffer";
import { describe, expect, it } from "vitest";
import { stopClock } from "../../redis-kit/test/harness/clock.ts";
import { failureOf, startEngine } from "./harness/engine.ts";
import { intercept, itOnRedis, restrictedClient, testClient } from "./harness/redis.ts";

const client = testClient();

/** An engine, and the keys that each of its loads has asked for. */
function start() {
  const asked: string[][] = [];
  const noted = new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "evalsha" || typeof value !== "function") return value;
      return (sha1: string, count: number, ...rest: string[]) => {
        asked.push(rest.slice(0, count));
        return Reflect.apply(value, target, [sha1, count, ...rest]) as unknown;
      };
    },
  });
  return { asked, ...startEngine(noted, { ids: "plain" }) };
}

/** Asks for sessions in one turn. */
function atOnce<T>(ids: readonly string[], ask: (id: string) => Promise<T>): Promise<T[]> {
  const goOn = stopClock();
  const asked = ids.map(ask);
  goOn();
  return Promise.all(asked);
}

describe("sessions that are asked for in one turn of the event loop", () => {
  it("are loaded by one command, but for the first, each with what is its own", async () => {
    const { asked, create, sessions, prefix } = start();
    await create("a", { n: 1 });
    await create("b", { n: 2 });
    asked.length = 0;
    const found = await atOnce(["b", "a", "none", "b", "a"], (id) => sessions.load(id));
    expect(asked).toEqual([[`${prefix}b`], ["a", "none", "b", "a"].map((id) => prefix + id)]);
    const fields = found.map((tracked) => tracked && sessions.read(tracked));
    expect(fields.map((each) => each?.n)).toEqual([2, 1, undefined, 2, 1]);
    expect(found.map((tracked) => tracked?.remainingMs !== undefined)).toEqual([true, true, false, true, true]);
  });

  it("are loaded by several commands where they are very many", async () => {
    const { asked, sessions } = start();
    const ids = Array.from({ length: 251 }, (_, n) => `a${n}`);
    await atOnce(ids, (id) => sessions.load(id));
    expect(asked.map((keys) => keys.length)).toEqual([1, 100, 100, 50]);
  });

  it("and in the next turn, by another", async () => {
    const { asked, sessions } = start();
    await sessions.load("a");
    await sessions.load("b");
    expect(asked).toHaveLength(2);
  });

  it("are found beside one that is no text, one that is no UTF-8, and one of another kind", async () => {
    const { create, sessions, prefix } = start();
    await create("a", { n: 1, sign: "\u{fffd}" });
    await client.set(`${prefix}bytes`, Buffer.from([0xff, 0xfe]));
    expect(isUtf8(Buffer.from([0xff, 0xfe]))).toBe(false);
    await client.zadd(`${prefix}set`, 1, "x");
    const [set, a, bytes] = await atOnce(["set", "a", "bytes"], (id) => sessions.load(id));
    expect(a && sessions.read(a)).toMatchObject({ n: 1, sign: "\u{fffd}" });
    expect([set, bytes].map((tracked) => tracked && sessions.read(tracked))).toEqual([undefined, undefined]);
  });

  it("fail together, each told", async () => {
    const deaf = intercept(client, () => new Promise(() => undefined), "load");
    const { sessions } = startEngine(deaf, { commandDeadlineMs: 30 });
    const failures = await atOnce(["a", "b", "c"], (id) => failureOf(sessions.load(id)));
    expect(failures.map(({ code }) => code)).toEqual(["UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"]);
    expect(new Set(failures).size).toBe(3);
  });

  itOnRedis("fail where Redis refuses to read one of them", async () => {
    const { restricted, allow, end } = await restrictedClient(client);
    const { sessions, create, prefix } = startEngine(restricted, { ids: "plain" });
    await create("a", { n: 1 });
    await allow("resetkeys");
    await allow(`~${prefix}a`);
    expect(await sessions.load("a")).toBeDefined();
    const first = sessions.load("a");
    const [a, b] = await atOnce(["a", "b"], (id) => failureOf(sessions.load(id)));
    expect(await first).toBeDefined();
    expect([a?.code, b?.code]).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    expect(await sessions.load("a")).toBeDefined();
    await end();
  });
});
