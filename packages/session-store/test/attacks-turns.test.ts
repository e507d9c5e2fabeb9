import { once } from "node:events";
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { loadScripts } from "./harness/attacks.ts";
import { startEngine } from "./harness/engine.ts";
import { memoryRedis } from "../src/memory.ts";

interface Options {
  readonly lazyConnect?: boolean;
  readonly protocol?: 2 | 3;
  readonly keyPrefix?: string;
  readonly stringNumbers?: boolean;
  readonly enableAutoPipelining?: boolean;
  readonly enableReadyCheck?: boolean;
  readonly retryStrategy?: () => number;
}

function connectWith(options: Options): Redis {
  const client = new Redis(inject("redisUrl"), { protocol: 2, retryStrategy: () => 5, ...options });
  client.on("error", () => undefined);
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

// Else a script's first use comes after what was sent after it.
beforeAll(async () => {
  const client = new Redis(inject("redisUrl"));
  await loadScripts(client);
  client.disconnect();
});

const outcomesOf = async (works: readonly Promise<unknown>[]) => {
  const counts: Record<string, number> = {};
  for (const result of await Promise.allSettled(works)) {
    const outcome =
      result.status === "fulfilled" ? "done" : String((result.reason as { code?: string }).code ?? result.reason);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
};

/** How many corks are on the client's socket, once its turn is over. */
async function corksOf(client: Redis): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return (client.stream as Redis["stream"] | undefined)?.writableCorked ?? 0;
}

const kinds: [string, Options][] = [
  ["as it comes", {}],
  ["that is lazy", { lazyConnect: true }],
  ["of RESP3", { protocol: 3 }],
  ["with a key prefix", { keyPrefix: `turns:${randomUUID()}:` }],
  ["with numbers as text", { stringNumbers: true }],
  ["that pipelines by itself", { enableAutoPipelining: true }],
  [
    "of RESP3 that pipelines by itself, with a key prefix",
    { protocol: 3, enableAutoPipelining: true, keyPrefix: "turns:" },
  ],
];

describe.each(kinds)("a client %s", (_, options) => {
  it("sends all that is asked for in one turn, before it has connected or after, and leaves no cork", async () => {
    const client = connectWith(options);
    const { sessions, create, load, data } = startEngine(client, {
      commandDeadlineMs: 5_000,
      commitDeadlineMs: 10_000,
    });
    for (let round = 0; round < 2; round += 1) {
      const id = (n: number) => `${round}-${n}`;
      await Promise.all(Array.from({ length: 120 }, (__, n) => create(id(n), { n })));
      // All at once: loads of what is there and of what is not, changes, touches and ends.
      const tracked = (await load(id(0))).tracked;
      const ends = [1, 2, 3].map((n) => sessions.destroy(id(n)));
      const found = await Promise.all([
        ...Array.from({ length: 260 }, (__, n) => sessions.load(id(n))),
        sessions.touch(tracked, { always: true }),
        sessions.commit(tracked, { ...sessions.read(tracked), n: "changed" }),
      ]);
      await Promise.all(ends);
      const values = found.slice(0, 260).map((one) => one && sessions.read(one as typeof tracked)?.n);
      const expected = Array.from({ length: 260 }, (__, n) => (n >= 120 || (n >= 1 && n <= 3) ? undefined : n));
      expected[0] = values[0] as number;
      expect(values).toEqual(expected);
      expect(await data(id(0))).toEqual({ n: "changed" });
      expect(await corksOf(client)).toBe(0);
    }
  });
});

describe("in the middle of a turn", () => {
  async function started(options: Options = {}) {
    const client = connectWith(options);
    await loadScripts(client);
    const engine = startEngine(client, { commandDeadlineMs: 2_000, commitDeadlineMs: 4_000 });
    await Promise.all(Array.from({ length: 30 }, (_, n) => engine.create(`${n}`, { n })));
    const loads = (from: number) => Array.from({ length: 10 }, (_, n) => engine.sessions.load(`${from + n}`));
    const commits = (from: number) => Array.from({ length: 5 }, (_, n) => engine.change(`${from + n}`, { more: n }));
    return { client, ...engine, loads, commits };
  }

  it.each<[string, (client: Redis) => unknown]>([
    ["a reconnect", (client) => client.disconnect(true)],
    ["a broken socket", (client) => client.stream.destroy()],
    ["a socket that fails", (client) => client.stream.destroy(new Error("broken"))],
    ["a socket that is half closed", (client) => client.stream.end()],
  ])("%s loses nothing, and leaves no cork", async (_, cut) => {
    const { client, create, data, loads, commits } = await started();
    const works: Promise<unknown>[] = [...loads(0), ...commits(0), create("a", {}), create("b", {})];
    cut(client);
    works.push(...loads(10), ...commits(10));
    // By the turn's end, and after it.
    process.nextTick(() => works.push(...loads(20)));
    await new Promise((resolve) => setImmediate(resolve));
    works.push(...loads(20));
    const outcomes = await outcomesOf(works);
    // What is asked while nobody is connected is refused at once; nothing hangs.
    expect(Object.values(outcomes).reduce((sum, count) => sum + count)).toBe(52);
    expect(Object.keys(outcomes).filter((code) => !["done", "UNAVAILABLE", "OUTCOME_UNKNOWN"].includes(code))).toEqual(
      [],
    );
    await expect.poll(() => client.status).toBe("ready");
    expect(await corksOf(client)).toBe(0);
    expect(await outcomesOf([...loads(0), ...loads(20)])).toEqual({ done: 20 });
    expect(await data("7")).toEqual({ n: 7 });
  });

  it.each<[string, (client: Redis) => unknown]>([
    ["disconnect", (client) => client.disconnect()],
    ["quit", (client) => client.quit()],
  ])("%s settles all that was asked, before and after", async (_, end) => {
    const { client, create, loads, commits } = await started();
    const works: Promise<unknown>[] = [...loads(0), ...commits(0), create("a", {}), create("b", {})];
    // Its own answer may be lost: Redis closes a connection on which something comes after a QUIT.
    Promise.resolve(end(client)).catch(() => undefined);
    works.push(...loads(10), create("c", {}), create("d", {}));
    const startedAt = performance.now();
    const outcomes = await outcomesOf(works);
    expect(Object.values(outcomes).reduce((sum, count) => sum + count)).toBe(29);
    expect(performance.now() - startedAt).toBeLessThan(4_500);
    const late = loads(0);
    expect(await outcomesOf(late)).toEqual({ UNAVAILABLE: 10 });
  });

  it("a quit comes after what was sent before it", async () => {
    const { client, create, prefix } = await started();
    const works = ["a", "b", "c"].map((id) => create(id, { id }));
    await client.quit();
    expect(await outcomesOf(works)).toEqual({ done: 3 });
    const other = connectWith({});
    expect(await startEngine(other, { prefix }).data("c")).toEqual({ id: "c" });
  });

  it("a socket that is replaced while another turn is open keeps none of both corked", async () => {
    const { client, loads } = await started({ enableReadyCheck: false, retryStrategy: () => 0 });
    const old = client.stream;
    const works: Promise<unknown>[] = [];
    let isOver = false;
    const more = () => {
      if (isOver) return;
      works.push(...loads(0).map((load) => load.catch(() => undefined)));
      setImmediate(more);
    };
    more();
    old.destroy();
    await once(client, "ready");
    isOver = true;
    await Promise.all(works);
    expect(client.stream).not.toBe(old);
    expect([old.writableCorked, await corksOf(client)]).toEqual([0, 0]);
    // The circuit breaker may be open.
    await expect.poll(() => outcomesOf(loads(0)), { timeout: 3_000, interval: 100 }).toEqual({ done: 10 });
  });

  it("an exception that ends nothing but its own callback keeps no command back", async () => {
    const { client, loads } = await started();
    const caught: unknown[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => caught.push(error));
    onTestFinished(() => {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
    });
    const works = await new Promise<Promise<unknown>[]>((resolve) => {
      setImmediate(() => {
        setImmediate(() => {
          throw new Error("somebody else's, before the turn's end");
        });
        resolve([...loads(0), ...loads(10)]);
      });
    });
    expect(await outcomesOf(works)).toEqual({ done: 20 });
    expect(caught).toHaveLength(1);
    expect(await corksOf(client)).toBe(0);
  });
});

describe("several users of one socket", () => {
  it("are sent in the order of sending, whoever corks it, and leave no cork", async () => {
    const client = connectWith({});
    await client.ping();
    const engines = [0, 1, 2].map(() =>
      startEngine(client, { prefix: `turns:${randomUUID()}:`, commandDeadlineMs: 5_000 }),
    );
    const key = `turns:${randomUUID()}`;
    const seen: string[] = [];
    const work = engines.flatMap(({ create, sessions }, e) => {
      client.stream.cork();
      process.nextTick(() => client.stream.uncork());
      return Array.from({ length: 20 }, (_, n) => [
        create(`${n}`, { n }).then(() => seen.push(`created ${e}.${n}`)),
        client.rpush(key, `${e}.${n}`),
        client.pipeline().rpush(key, `${e}.${n}p`).rpush(key, `${e}.${n}q`).exec(),
        sessions.load(`${n}`).then((found) => found && seen.push(`loaded ${e}.${n}`)),
      ]).flat();
    });
    await Promise.all(work);
    const expected = engines.flatMap((_, e) =>
      Array.from({ length: 20 }, (__, n) => [`${e}.${n}`, `${e}.${n}p`, `${e}.${n}q`]).flat(),
    );
    expect(await client.lrange(key, 0, -1)).toEqual(expected);
    await client.del(key);
    expect(seen.filter((what) => what.startsWith("created"))).toHaveLength(60);
    // What was asked for after it was sent to be stored is found.
    expect(seen.filter((what) => what.startsWith("loaded"))).toHaveLength(60);
    expect(await corksOf(client)).toBe(0);
  });

  it("are not held up for ever by turns that overlap", async () => {
    const client = connectWith({});
    await loadScripts(client);
    const engines = [0, 1].map(() => startEngine(client, { commandDeadlineMs: 1_000 }));
    let isOver = false;
    const chain = async (e: number, n: number): Promise<void> => {
      while (!isOver) {
        const engine = engines[e];
        await Promise.all([engine?.sessions.load(`${n}`), engine?.sessions.load("x"), engine?.sessions.load("y")]);
        if (n % 2) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const spins = [0, 1].map((e) => {
      const engine = engines[e];
      const spin = () => {
        if (isOver) return;
        setImmediate(spin);
        for (let n = 0; n < 3; n += 1) void engine?.sessions.load(`s${n}`).catch(() => failures.push("spin"));
      };
      return spin;
    });
    const failures: string[] = [];
    for (const spin of spins) spin();
    const chains = [0, 1, 2, 3].map((n) => chain(n % 2, n));
    await new Promise((resolve) => setTimeout(resolve, 300));
    isOver = true;
    expect(await outcomesOf(chains)).toEqual({ done: 4 });
    expect(failures).toEqual([]);
    expect(await corksOf(client)).toBe(0);
  });
});

describe("loads that are asked for", () => {
  it("by what another's reply goes on with are all answered, thousands in one turn", async () => {
    const client = connectWith({});
    const { sessions, create } = startEngine(client, { commandDeadlineMs: 5_000 });
    await create("a", { n: 1 });
    const first = sessions.load("a");
    const after = Array.from({ length: 3_000 }, (_, n) => first.then(() => sessions.load(n % 2 ? "a" : `none${n}`)));
    const found = await Promise.all(after);
    expect(found.filter((one) => one !== undefined)).toHaveLength(1_500);
    expect(await corksOf(client)).toBe(0);
  });

  it("in memory, all at once", async () => {
    const { sessions, create } = startEngine(memoryRedis());
    await create("a", { n: 1 });
    const found = await Promise.all(Array.from({ length: 250 }, (_, n) => sessions.load(n % 2 ? "a" : "b")));
    expect(found.filter((one) => one !== undefined)).toHaveLength(125);
  });

  it("are answered where the event loop stalls in the middle of their turn for longer than the deadline", async () => {
    const client = connectWith({});
    await loadScripts(client);
    const { sessions, create } = startEngine(client, { commandDeadlineMs: 50 });
    await create("a", { n: 1 });
    const works = Array.from({ length: 5 }, () => sessions.load("a"));
    const commits = ["b", "c", "d"].map((id) => create(id, {}));
    const until = Date.now() + 200;
    while (Date.now() < until);
    works.push(...Array.from({ length: 5 }, () => sessions.load("a")));
    expect(await outcomesOf([...works, ...commits])).toEqual({ done: 13 });
  });
});
