import { MemcacheClient } from "memcache-client";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { memcachedKey } from "../src/drivers/memcached-keys.ts";
import { rendezvous } from "../src/drivers/rendezvous.ts";
import { createKeys } from "../src/keys.ts";
import { connectMemcached } from "../src/memcached.ts";
import { interceptTier, openDriver, openOn, openPair, rulesWith, shareMemcached, times } from "./harness/drivers.ts";
import { startOwnMemcached, testMemcached } from "./harness/memcached.ts";
import { uniqueName } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const unsupported = { code: "UNSUPPORTED", status: 500 };

type Nodes = Awaited<ReturnType<typeof shareMemcached>>;

function rawClient(port: number): MemcacheClient {
  const client = new MemcacheClient({ server: `127.0.0.1:${port}` });
  onTestFinished(() => {
    client.shutdown();
  });
  return client;
}

/** Writes that outlast a flood or a restart. */
const longWrites = { pendingMs: 60_000, commitDeadlineMs: 50_000 };

/** Small items push a small item out. It is looked for seldom: each look makes it young again. */
async function floodUntilGone(client: MemcacheClient, key: string): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    for (let batch = 0; batch < 30; batch += 1) {
      const keys = Array.from({ length: 1_000 }, (_, index) => `flood-${round}-${batch}-${index}`);
      await Promise.all(keys.map((each) => client.set(each, "x".repeat(60))));
    }
    if (!(key in ((await client.get<Record<string, { value: string }>>([key])) as object))) return;
  }
  throw new Error("Nothing is evicted.");
}

/** An id for each of three nodes, in their order. */
function idOnEach(name: string): string[] {
  const nodeOf = rendezvous(["node-0", "node-1", "node-2"]);
  const keys = createKeys(name, "thing");
  const ids = Array.from({ length: 100 }, (_, index) => `${index}`);
  return [0, 1, 2].map((node) => ids.find((id) => nodeOf(memcachedKey(keys.of(id).entry)) === node) ?? "");
}

describe("a list of Memcached servers", () => {
  it.each([
    ["at least one server is needed", []],
    ["each server needs an address", ["127.0.0.1"]],
    ["each server needs an address", ["[::1]:11211"]],
    ["each server needs an address", ["127.0.0.1:0"]],
    ["each server needs an address", ["127.0.0.1:65536"]],
    ["each server needs an address", [{ name: "", address: "127.0.0.1:11211" }]],
    ["each server may be named once", ["127.0.0.1:1", "127.0.0.1:1"]],
  ])("that can't be meant is a mistake: %s", (message, servers) => {
    expect(() => connectMemcached(servers)).toThrow(TypeError);
    expect(() => connectMemcached(servers)).toThrow(message);
    for (const timeoutMs of [0, 2 ** 31]) {
      expect(() => connectMemcached(["127.0.0.1:1"], { timeoutMs })).toThrow(TypeError);
    }
  });

  it("tells their names", () => {
    const { servers } = testMemcached(["127.0.0.1:1", { name: "b", address: "127.0.0.1:2" }]);
    expect(servers).toEqual(["127.0.0.1:1", "b"]);
  });
});

describe("Memcached", () => {
  let shared: Nodes;
  beforeAll(async () => {
    shared = await shareMemcached(1);
  });
  afterAll(() => shared.stop());

  it("holds no key that the cache has not escaped, and all of an entry in one item", async () => {
    const source = new Source({ "a b": 1 });
    const name = uniqueName();
    const { things } = openOn(shared.connect(), source, { name });
    await things.update("a b", source.write("a b", 2));
    const item = await rawClient(shared.nodes[0]?.port ?? 0).get<{ value: string }>(`${name}:2:{thing:a%20b}`);
    expect(item.value).toMatch(/^v\d+ v1:2$/);
  });

  it("is not asked to list its keys: clear is refused, and drops nothing", async () => {
    const source = new Source({ a: 1 });
    const { things } = openOn(shared.connect(), source);
    await things.get("a");
    await expect(things.clear()).rejects.toMatchObject(unsupported);
    await until(async () => expect((await things.lookup("a")).from).toBe("shared"));
  });

  it("what it has no room for is served and not kept, and neither is what was there before", async () => {
    const large = "x".repeat(1_100_000);
    const source = new Source({ a: large });
    const [one, other] = openPair(shared, source, { maxBytes: 10_000_000 });
    expect((await one.things.lookup("a")).value).toBe(large);
    await until(() => expect(one.things.counts().tooLarge).toBe(1));
    expect(one.events).toEqual([{ type: "too-large", collection: "thing" }]);
    // Nobody waits for a token to lapse.
    expect(await other.things.lookup("a")).toEqual({ value: large, from: "source" });
    expect(other.things.counts()).toMatchObject({ waited: 0, misses: 0, uncached: 1 });

    await one.things.update("a", source.write("a", "small"));
    expect((await other.things.lookup("a")).from).toBe("shared");
    await one.things.update("a", source.write("a", large));
    expect(one.things.counts().tooLarge).toBe(2);
    expect(await other.things.lookup("a")).toEqual({ value: large, from: "source" });
  });

  it("an old value that has no room for who refreshes it is loaded anew", async () => {
    const source = new Source();
    const { things } = openOn(shared.connect(), source, {
      maxBytes: 10_000_000,
      ttlMs: 1,
      jitter: 0,
      graceMs: 60_000,
    });
    // Up to the largest that is kept: the text of a refresh is longer by a token and a time.
    let [least, most] = [900_000, 1_100_000];
    while (most - least > 1) {
      const length = Math.floor((least + most) / 2);
      const { tooLarge } = things.counts();
      await things.update("a", source.write("a", "x".repeat(length)));
      if (things.counts().tooLarge === tooLarge) least = length;
      else most = length;
    }
    await things.update("a", source.write("a", "x".repeat(least)));
    source.rows.set("a", "small");
    await until(async () => expect(await things.lookup("a")).toMatchObject({ value: "small" }));
  });

  it("that was started without CAS is refused: nothing could be fenced", async () => {
    const { port } = await startOwnMemcached({ settings: ["-C"] });
    const source = new Source({ a: 1 });
    const { cache, things, events } = openOn({ memcached: testMemcached([`127.0.0.1:${port}`]) }, source);
    await expect(cache.ready()).rejects.toMatchObject(unsupported);
    expect(await things.get("a")).toBe(1);
    await expect(things.update("a", source.write("a", 2))).rejects.toMatchObject(unsupported);
    for (let read = 0; read < 3; read += 1) {
      expect(await things.lookup("a")).toEqual({ value: 1, from: "source" });
    }
    expect(things.counts()).toMatchObject({ fills: 0, hits: 0 });
    const error = expect.objectContaining(unsupported) as unknown;
    expect(events.filter(({ type }) => type === "read-failed")).toEqual([
      { type: "read-failed", collection: "thing", error },
    ]);
  });

  it("a mark that was evicted leaves nothing old when its writer ends", async () => {
    const { port } = await startOwnMemcached({ settings: ["-m", "2", "-I", "512k"] });
    const memcached = testMemcached([`127.0.0.1:${port}`]);
    const source = new Source({ a: "old" });
    const [writer, other] = openPair({ ...shared, connect: () => ({ memcached }) }, source, longWrites);
    await writer.things.update("a", async () => {
      await floodUntilGone(rawClient(port), writer.keysOf("a").entry);
      await until(async () => expect(await other.things.lookup("a")).toEqual({ value: "old", from: "shared" }));
      source.rows.set("a", "new");
      return "new";
    });
    expect(writer.events).toEqual([{ type: "lapsed", collection: "thing" }]);
    expect(await other.things.get("a")).toBe("new");
  });

  it("that restarts while a write is pending serves nothing old when its writer has ended", async () => {
    const memcached = await startOwnMemcached();
    const source = new Source({ a: "old" });
    const connect = () => ({ memcached: testMemcached([`127.0.0.1:${memcached.port}`]) });
    const [writer, other] = openPair({ ...shared, connect }, source, longWrites);
    await writer.things.update("a", async () => {
      await memcached.stop();
      expect(await other.things.lookup("a")).toEqual({ value: "old", from: "source" });
      await startOwnMemcached({ port: memcached.port });
      await until(async () => expect(await other.things.lookup("a")).toEqual({ value: "old", from: "shared" }));
      source.rows.set("a", "new");
      return "new";
    });
    expect(writer.events).toContainEqual({ type: "lapsed", collection: "thing" });
    expect(await other.things.get("a")).toBe("new");
  });
});

describe("a Memcached that restarts between the look at an item and its change", () => {
  it("is not taken for what it was, though it counts the states of items from one again", async () => {
    const memcached = await startOwnMemcached();
    const connect = () => ({ memcached: testMemcached([`127.0.0.1:${memcached.port}`]) });
    const name = uniqueName();
    const keys = createKeys(name, "thing").of("a");
    const rules = rulesWith({ pendingMs: 60_000, tokenLifeMs: 60_000 });
    const barrier = new Barrier();
    let replies = 0;
    const tier = interceptTier(connect(), async (send) => {
      const reply = await send();
      replies += 1;
      if (replies === 3) await barrier.pass("the look before the storing");
      return reply;
    });
    const [driver, other] = [openDriver(tier, name), openDriver(connect(), name)];
    const [read] = await Promise.all(driver.read([{ keys }], rules).map((group) => group.replies));
    const token = read?.[0]?.outcome === "fill" ? read[0].token : "";
    const storing = driver.store([{ key: keys.entry, token, result: { text: "v1:1", lifeMs: 60_000 } }], rules);
    await barrier.arrivals(1);
    await memcached.stop();
    await startOwnMemcached({ port: memcached.port });
    await until(() => other.begin(keys, rules));
    barrier.release();
    expect(await storing).toMatchObject([{ outcome: "refused" }]);
    const [reply] = await Promise.all(other.read([{ keys }], rules).map((group) => group.replies));
    expect(reply).toEqual([{ outcome: "pending" }]);
  });
});

describe("a late reply", () => {
  let shared: Nodes;
  beforeAll(async () => {
    shared = await shareMemcached(1);
  });
  afterAll(() => shared.stop());

  it.each([
    ["while its connection stands", 10_000],
    ["on a connection that was given up", 100],
  ])("is never taken for another command's: %s", async (_, timeoutMs) => {
    const ids = Array.from({ length: 50 }, (__, index) => `${index}`);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, `value of ${id}`])));
    const { tier, set, proxies } = await shared.connectBreakable(timeoutMs);
    const server = openOn(tier, source, { deadlineMs: 150, loadTimeoutMs: 700 });
    await until(() => server.cache.ready());
    await server.things.getMany(ids);
    for (const id of ids) {
      const fault = Number(id) % 5 === 0 ? "hold" : "pass";
      await set(fault);
      const others = ids.filter((each) => each !== id).slice(0, 3);
      const found = await Promise.all([id, ...others].map((each) => server.things.get(each)));
      expect(found).toEqual([id, ...others].map((each) => `value of ${each}`));
    }
    await set("pass");
    expect(proxies.reduce((sum, { counts }) => sum + counts.heldChunks, 0)).toBeGreaterThan(0);
    await until(async () => {
      const found = await server.things.lookupMany(ids);
      expect(found).toEqual(ids.map((id) => ({ value: `value of ${id}`, from: "shared" })));
    });
    expect(server.events.filter(({ type }) => type === "corrupt")).toEqual([]);
  });

  it("that brings a fill token gives it back", async () => {
    const source = new Source({ a: 1 });
    const { tier, set } = await shared.connectBreakable();
    const server = openOn(tier, source, { deadlineMs: 150, loadTimeoutMs: 60_000 });
    const other = openOn(shared.connect(), source, { name: server.cache.name, loadTimeoutMs: 60_000 });
    await until(() => server.cache.ready());
    // The item is looked for, and the token that is added then is answered too late.
    await set({ delayMs: 90 });
    expect(await server.things.lookup("a")).toEqual({ value: 1, from: "source" });
    expect(server.things.counts()).toMatchObject({ unavailable: 1 });
    await set("pass");
    expect(await other.things.get("a")).toBe(1);
    await until(async () => expect((await other.things.lookup("a")).from).toBe("shared"));
  });
});

describe("of three Memcached servers", () => {
  let shared: Nodes;
  beforeAll(async () => {
    shared = await shareMemcached(3);
  });
  afterAll(() => shared.stop());

  it.each(["refuse", "hold"] as const)(
    "one is gone (%s): the others serve, its keys come from the source, and nothing old when it is back",
    async (fault) => {
      const name = uniqueName();
      const ids = idOnEach(name);
      const [gone = "", ...rest] = ids;
      const source = new Source(Object.fromEntries(ids.map((id) => [id, "old"])));
      const { tier, proxies } = await shared.connectBreakable();
      const server = openOn(tier, source, { name, deadlineMs: 200 });
      const other = openOn(shared.connect(), source, { name });
      await server.things.getMany(ids);
      await until(async () => {
        for (const id of ids) expect((await other.things.lookup(id)).from).toBe("shared");
      });

      await proxies[0]?.set(fault);
      for (let n = 0; n < 8; n += 1) {
        const found = await server.things.lookupMany(ids);
        expect(found.map(({ from }) => from)).toEqual(["source", "shared", "shared"]);
      }
      expect(server.events).toEqual([{ type: "breaker", state: "open", server: "node-0" }]);
      await expect(server.things.update(gone, source.write(gone, "never"))).rejects.toMatchObject({
        code: "UNAVAILABLE",
      });
      for (const id of rest) await server.things.update(id, source.write(id, "new"));
      // Whoever reaches it goes on, and what is there when the first server is back is what that has left.
      await other.things.update(gone, source.write(gone, "new"));
      expect(await server.things.getMany(ids)).toEqual(["new", "new", "new"]);

      await proxies[0]?.set("pass");
      await until(async () => {
        const found = await server.things.lookupMany(ids);
        for (const { value } of found) expect(value).toBe("new");
        for (const { from } of found) expect(from).toBe("shared");
      });
    },
  );

  it("one is gone when values are stored: what the others keep is counted, and the failure told of once", async () => {
    const name = uniqueName();
    const ids = idOnEach(name);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, id])));
    const barrier = source.hold();
    const { tier, proxies } = await shared.connectBreakable();
    const { things, events } = openOn(tier, source, { name, deadlineMs: 1_000, loadMany: source.loadMany });
    const reading = things.getMany(ids);
    await until(() => expect(things.counts().misses).toBe(3));
    await proxies[0]?.set("refuse");
    barrier.release();
    expect(await reading).toEqual(ids);
    await until(() => expect(events.map(({ type }) => type)).toEqual(["store-failed"]));
    expect(things.counts()).toMatchObject({ misses: 3, fills: 2, refusedFills: 0 });
  });

  it("one is restarted: it has forgotten everything, and its keys are loaded again", async () => {
    const name = uniqueName();
    const own = [await startOwnMemcached(), await startOwnMemcached()];
    const servers = own.map(({ port }, index) => ({ name: `node-${index}`, address: `127.0.0.1:${port}` }));
    const source = new Source(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`${index}`, index])));
    const ids = [...source.rows.keys()];
    const { things } = openOn({ memcached: testMemcached(servers) }, source, { name, ...times });
    await things.getMany(ids);
    await until(() => expect(things.counts().fills).toBe(40));
    await own[0]?.stop();
    await startOwnMemcached({ port: own[0]?.port ?? 0 });
    await until(async () => {
      const found = await things.lookupMany(ids);
      expect(found.map(({ value }) => value)).toEqual([...source.rows.values()]);
      for (const { from } of found) expect(from).toBe("shared");
    });
  });
});
