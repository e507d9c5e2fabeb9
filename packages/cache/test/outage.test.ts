import { describe, expect, it, onTestFinished, vi } from "vitest";
import { freePort } from "../../../infra/local/processes.mjs";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { deadlineMs, openBesideAnother, typesOf, unavailable } from "./harness/outage.ts";
import { openServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { testClient, uniqueName, untilOldEnough } from "./harness/redis.ts";
import { until } from "./harness/until.ts";

describe("F7: while Redis is gone", () => {
  it.each(["refuse", "hold"] as const)(
    "reads are answered by the source, in bounded time and so many at a time (%s)",
    async (fault) => {
      const ids = Array.from({ length: 60 }, (_, index) => `${index}`);
      const source = new Source(Object.fromEntries(ids.map((id) => [id, `value of ${id}`])));
      const { server, proxy } = await openBesideAnother(source, { maxSourceConcurrency: 3 });
      await proxy.set(fault);
      const startedAt = performance.now();
      const answers = await Promise.all(ids.map((id) => server.things.lookup(id)));
      expect(performance.now() - startedAt).toBeLessThan(deadlineMs + 500);
      expect(answers).toEqual(ids.map((id) => ({ value: `value of ${id}`, from: "source" })));
      expect(source.mostAtOnce).toBe(3);
      expect(server.things.counts()).toMatchObject({ unavailable: 60, loads: 60, hits: 0, misses: 0, fills: 0 });
    },
  );

  it("reads stop waiting for it, and ask it again when it answers again", async () => {
    const source = new Source({ a: "value" });
    const { server, proxy } = await openBesideAnother(source, { deadlineMs: 100 });
    await proxy.set("hold");
    for (let n = 0; n < 5; n += 1) await server.things.get("a");
    expect(typesOf(server)).toEqual(["breaker"]);
    const sent = vi.spyOn(server.client, "evalsha");
    for (let n = 0; n < 50; n += 1) await server.things.get("a");
    expect(sent).not.toHaveBeenCalled();
    expect(server.things.counts()).toMatchObject({ unavailable: 55, loads: 55 });

    await proxy.set("pass");
    await until(async () => expect((await server.things.lookup("a")).from).toBe("shared"));
    expect(server.events[0]).toEqual({ type: "breaker", state: "open" });
    expect(server.events.at(-1)).toEqual({ type: "breaker", state: "closed" });
  });

  it("an update is refused before its write, and so are invalidations", async () => {
    const source = new Source({ a: "old" });
    const { server, proxy } = await openBesideAnother(source, { deadlineMs: 100 });
    await proxy.set("hold");
    const write = vi.fn(source.write("a", "new"));
    await expect(server.things.update("a", write)).rejects.toMatchObject({
      ...unavailable,
      cause: expect.objectContaining({ failure: "no-reply" }) as Error,
    });
    expect(write).not.toHaveBeenCalled();
    await expect(server.things.invalidate("a")).rejects.toMatchObject(unavailable);
    await expect(server.things.invalidateMany(["a", "b"])).rejects.toMatchObject(unavailable);
    await expect(server.things.clear()).rejects.toMatchObject(unavailable);
    await expect(server.cache.ready()).rejects.toMatchObject(unavailable);
    expect(server.things.counts()).toMatchObject({ refusedUpdates: 1, updates: 0, invalidations: 0, proceeded: 0 });
  });

  it("a server can be started: a port where nobody listens is an outage like any other", async () => {
    const server = openServer(new Source({ a: 1 }), { client: connect(await freePort()), deadlineMs });
    expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
    await expect(server.cache.ready()).rejects.toMatchObject(unavailable);
  });

  it("an update that is done is done, though its end is lost: its entry is uncached until the mark lapses", async () => {
    const source = new Source({ a: "old" });
    const times = { pendingMs: 1_000, commitDeadlineMs: 900 };
    const { server, other, proxy } = await openBesideAnother(source, times);
    const updated = await server.things.update("a", async () => {
      source.rows.set("a", "new");
      await proxy.set("reset");
      return "new";
    });
    expect(updated).toBe("new");
    expect(typesOf(server)).toEqual(["store-failed"]);
    expect(await other.things.lookup("a")).toEqual({ value: "new", from: "source" });
    expect(other.things.counts().uncached).toBe(1);
    await proxy.set("pass");
    await until(async () => expect((await other.things.lookup("a")).from).toBe("shared"));
  });
});

describe("a Redis that takes no writes", () => {
  it("serves what it has, also beside an entry whose writer has died", async () => {
    const redis = await startOwnRedis();
    const source = new Source({ a: "cached", z: "not cached" });
    const server = openServer(source, { client: connect(redis.port), pendingMs: 500, commitDeadlineMs: 490 });
    await untilOldEnough(server.client, 500);
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    await server.client.hset(server.keysOf("z").mark, "dead", "1");
    await server.client.config("SET", "min-replicas-to-write", "1");
    expect(await server.things.lookupMany(["a", "z"])).toEqual([
      { value: "cached", from: "shared" },
      { value: "not cached", from: "source" },
    ]);
  });
});

describe("a Redis that is full", () => {
  it("serves what it has, and the source the rest", async () => {
    const redis = await startOwnRedis();
    const client = connect(redis.port);
    const source = new Source({ a: "cached", b: "not cached" });
    const server = openServer(source, { client, pendingMs: 500, commitDeadlineMs: 490 });
    await until(async () => expect((await server.things.lookup("a")).from).toBe("shared"));
    const before = server.things.counts();
    await client.config("SET", "maxmemory", "1mb");
    const lookups = await Promise.all([server.things.lookup("a"), server.things.lookup("b")]);
    expect(lookups).toEqual([
      { value: "cached", from: "shared" },
      { value: "not cached", from: "source" },
    ]);
    await expect(server.things.update("a", source.write("a", "new"))).rejects.toMatchObject(unavailable);
    expect(source.rows.get("a")).toBe("cached");
    const { hits, uncached, unavailable: withoutRedis } = server.things.counts();
    expect({ hits, uncached, withoutRedis }).toEqual({
      hits: before.hits + 1,
      uncached: before.uncached + 1,
      withoutRedis: 0,
    });
    source.rows.set("a", "new");
    await server.things.invalidate("a");
    expect(await server.things.get("a")).toBe("new");
  });
});

describe("a shared tier that is there and refuses", () => {
  it("is told of, each code once: the source answers, and nobody would look for the reason", async () => {
    const admin = testClient();
    const client = testClient();
    const username = uniqueName();
    await admin.acl("SETUSER", username, "on", "nopass", "~*", "+@all", "-evalsha", "-eval");
    onTestFinished(async () => {
      await connect(admin.options.port ?? 0).acl("DELUSER", username);
    });
    const source = new Source({ a: 1 });
    const server = openServer(source, { client });
    await server.things.get("b");
    await server.client.lpush(server.keysOf("a").entry, "not ours");
    for (let read = 0; read < 3; read += 1) expect(await server.things.get("a")).toBe(1);
    expect(server.events).toEqual([readFailed("WRONGTYPE")]);
    await client.auth(username, "");
    for (let read = 0; read < 3; read += 1) expect(await server.things.get("a")).toBe(1);
    expect(server.events).toEqual([readFailed("WRONGTYPE"), readFailed("NOPERM")]);
    expect(server.things.counts().unavailable).toBe(6);
  });

  function readFailed(replyCode: string) {
    const error = expect.objectContaining({ name: "CommandError", replyCode }) as unknown;
    return { type: "read-failed", collection: "thing", error };
  }
});

describe("a server that does not tell its eviction policy", () => {
  it("is refused for that, and is no outage", async () => {
    const source = new Source({ a: 1 });
    const taciturn = new Proxy(testClient(), {
      get(client, property) {
        if (property === "info") return () => Promise.resolve("redis_version:7.0.0\r\n");
        const value: unknown = Reflect.get(client, property, client);
        return typeof value === "function" ? (value.bind(client) as unknown) : value;
      },
    });
    const { cache, things, events } = openServer(source, { client: taciturn, name: uniqueName() });
    const refused = { code: "UNSAFE_REDIS", message: expect.stringContaining("maxmemory_policy") as string };
    await expect(cache.ready()).rejects.toMatchObject(refused);
    await expect(things.update("a", source.write("a", 2))).rejects.toMatchObject(refused);
    for (let read = 0; read < 6; read += 1) expect((await things.lookup("a")).from).toBe("source");
    expect(events).toEqual([{ type: "unsafe-redis", error: expect.objectContaining(refused) as Error }]);
  });
});
