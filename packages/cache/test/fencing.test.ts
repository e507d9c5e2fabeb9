import { describe, expect, it, vi } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { RedisDriver } from "../src/drivers/redis.ts";
import { createKeys } from "../src/keys.ts";
import { intercept, testClient, uniqueName, untilOldEnough } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** A value that changes while a loader has read the old one and not stored it yet. */
async function changeWhileLoading(change: (writer: Server, source: Source) => Promise<unknown>) {
  const source = new Source({ a: "old" });
  const [reader, writer] = await openTwoServers(source);
  const barrier = source.hold();
  const early = reader.things.get("a");
  await barrier.arrivals(1);
  source.holdNoMore();
  await change(writer, source);
  return { source, reader, writer, barrier, early };
}

const changes: [string, (writer: Server, source: Source) => Promise<unknown>][] = [
  ["an update", ({ things }, source) => things.update("a", source.write("a", "new"))],
  [
    "an invalidation",
    async ({ things }, source) => {
      source.rows.set("a", "new");
      await things.invalidate("a");
    },
  ],
  [
    "an invalidation of many",
    async ({ things }, source) => {
      source.rows.set("a", "new");
      await things.invalidateMany(["b", "a", "a"]);
    },
  ],
  [
    "the invalidation of all",
    async ({ things }, source) => {
      source.rows.set("a", "new");
      await things.clear();
    },
  ],
];

describe("C5: a slow load", () => {
  it.each(changes)("is not stored over the value of %s", async (_name, change) => {
    const { reader, writer, barrier, early } = await changeWhileLoading(change);
    barrier.release();
    expect(await early).toBe("old"); // it came before
    await until(() => expect(reader.things.counts()).toMatchObject({ refusedFills: 1, fills: 0 }));
    for (const { things } of [reader, writer]) expect(await things.get("a")).toBe("new");
  });

  it.each(changes)("C6: is shared by nobody who comes after %s", async (_name, change) => {
    const { reader, barrier } = await changeWhileLoading(change);
    expect(await reader.things.get("a")).toBe("new");
    expect(await reader.things.getMany(["a", "a"])).toEqual(["new", "new"]);
    barrier.release();
  });

  it.each(changes)("keeps nobody waiting who is past %s", async (_name, change) => {
    const source = new Source({ a: "old" });
    const [reader, writer] = await openTwoServers(source);
    const barrier = source.hold();
    const loading = reader.things.get("a");
    await barrier.arrivals(1);
    const waiting = reader.things.get("a");
    await until(() => expect(reader.things.counts().waited).toBe(1));
    source.holdNoMore();
    await change(writer, source);
    expect(["old", "new"]).toContain(await waiting); // it came before, too
    expect(await reader.things.get("a")).toBe("new");
    barrier.release();
    await loading;
  });

  it("is stored once, and not after its token has lapsed", async () => {
    const client = testClient();
    await untilOldEnough(client, 900);
    const driver = new RedisDriver(client, { name: uniqueName(), deadlineMs: 10_000, onEvent: undefined });
    const keys = createKeys(uniqueName(), "thing").of("a");
    const rules = { pendingMs: 900, tokenLifeMs: 60_000, revision: 1, extraMs: 0, asksLife: false };
    const read = async (tokenLifeMs: number) => {
      const [group] = driver.read([{ keys }], { ...rules, tokenLifeMs });
      return (await group?.replies)?.[0];
    };
    const tokenOf = (reply: Awaited<ReturnType<typeof read>>) => (reply?.outcome === "fill" ? reply.token : "none");
    const store = async (token: string, value: string) => {
      const result = { text: `v1:"${value}"`, lifeMs: 60_000 };
      const [stored] = await driver.store([{ key: keys.entry, token, result }], rules);
      return stored?.outcome;
    };

    const lapsing = tokenOf(await read(20));
    await until(async () => expect(await client.exists(keys.entry)).toBe(0));
    expect(await store(lapsing, "old")).toBe("refused");
    const token = tokenOf(await read(60_000));
    expect(token).not.toBe(lapsing);
    expect(await store(lapsing, "old")).toBe("refused");
    expect(await store(token, "new")).toBe("stored");
    expect(await store(token, "twice")).toBe("refused");
    expect(await read(60_000)).toEqual({ outcome: "hit", text: 'v1:"new"' });
  });

  it("that waits for its turn brings what its last sharer may expect", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { maxSourceConcurrency: 1, writePolicy: "cache-aside" });
    const barrier = source.hold();
    const busy = one.things.get("other");
    await barrier.arrivals(1);
    const early = one.things.get("a");
    await until(() => expect(one.things.counts().misses).toBe(2));
    await other.things.update("a", source.write("a", "new"));
    const late = one.things.get("a"); // has a token of its own, and the place of the first in the queue
    await until(() => expect(one.things.counts()).toMatchObject({ misses: 3, coalesced: 1 }));
    barrier.release();
    await busy;
    expect(await Promise.all([early, late])).toEqual(["new", "new"]);
    await until(() => expect(one.things.counts()).toMatchObject({ fills: 2, refusedFills: 1 }));
    expect(await other.things.lookup("a")).toEqual({ value: "new", from: "shared" });
  });
});

describe("a command that arrives late", () => {
  it("stores nothing if it is a fill, though its reader has gone on", async () => {
    const source = new Source({ a: "old" });
    const name = uniqueName();
    const barrier = new Barrier();
    let scripts = 0;
    const client = intercept(testClient(), async (send) => {
      scripts += 1;
      if (scripts === 2) await barrier.pass("the fill");
      return send();
    });
    const other = await openWarmServer(source, { name });
    const slow = openServer(source, { name, client });
    expect(await slow.things.get("a")).toBe("old");
    await barrier.arrivals(1);
    await other.things.update("a", source.write("a", "new"));
    barrier.release();
    await until(() => expect(slow.things.counts().refusedFills).toBe(1));
    expect(await slow.things.get("a")).toBe("new");
  });

  it("stores nothing if it is the end of a write that another has overlapped", async () => {
    const source = new Source({ a: "old" });
    const name = uniqueName();
    const barrier = new Barrier();
    let scripts = 0;
    const client = intercept(testClient(), async (send) => {
      scripts += 1;
      if (scripts === 2) await barrier.pass("the end");
      return send();
    });
    const other = await openWarmServer(source, { name });
    const slow = openServer(source, { name, client, deadlineMs: 400 });
    expect(await slow.things.update("a", source.write("a", "first"))).toBe("first");
    expect(slow.events).toMatchObject([{ type: "store-failed", error: { failure: "no-reply" } }]);
    await other.things.update("a", source.write("a", "second"));
    barrier.release();
    await until(async () => expect(await other.client.exists(other.keysOf("a").mark)).toBe(0));
    expect(await other.things.get("a")).toBe("second");
  });

  it("only delays caching if it is the begin of a write that was refused", async () => {
    const source = new Source({ a: "old" });
    const name = uniqueName();
    const times = { pendingMs: 100, commitDeadlineMs: 90 };
    const barrier = new Barrier();
    const client = intercept(testClient(), async (send) => {
      await barrier.pass("the begin");
      return send();
    });
    const other = await openWarmServer(source, { name, ...times });
    const slow = openServer(source, { name, client, deadlineMs: 50, ...times });
    const write = vi.fn(source.write("a", "new"));
    await expect(slow.things.update("a", write)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    barrier.release();
    await until(async () => expect(await other.client.exists(other.keysOf("a").mark)).toBe(1));
    await until(async () => expect((await other.things.lookup("a")).from).toBe("shared"));
    expect(write).not.toHaveBeenCalled();
  });

  it("gives back the right to load if it is a read whose caller has gone on", async () => {
    const source = new Source({ a: "value" });
    const name = uniqueName();
    const barrier = new Barrier();
    let scripts = 0;
    const client = intercept(testClient(), async (send) => {
      scripts += 1;
      if (scripts === 1) await barrier.pass("the read");
      return send();
    });
    const other = await openWarmServer(source, { name, loadTimeoutMs: 60_000 });
    const slow = openServer(source, { name, client, deadlineMs: 50, loadTimeoutMs: 60_000 });
    expect(await slow.things.lookup("a")).toEqual({ value: "value", from: "source" });
    barrier.release();
    await until(() => expect(scripts).toBeGreaterThan(1));
    expect(await other.things.get("a")).toBe("value");
    expect(slow.things.counts()).toMatchObject({ unavailable: 1 });
  });
});

describe("commands that a client sends twice, since the connection broke before the first answer", () => {
  it("do no harm", async () => {
    const source = new Source({ a: 0, b: "b" });
    const name = uniqueName();
    const twice = () =>
      intercept(testClient(), async (send) => {
        await send();
        return send();
      });
    await openWarmServer(source, { name });
    const servers = [openServer(source, { name, client: twice() }), openServer(source, { name, client: twice() })];
    for (let version = 1; version <= 10; version += 1) {
      for (const { things } of servers) {
        await things.update("a", source.write("a", version));
        expect(await Promise.all(servers.map((server) => server.things.get("a")))).toEqual([version, version]);
        source.rows.set("a", -version);
        await things.invalidate("a");
        expect(await Promise.all(servers.map((server) => server.things.get("a")))).toEqual([-version, -version]);
      }
    }
    expect(servers.flatMap(({ events }) => events.map(({ type }) => type))).toEqual(Array(20).fill("lapsed"));
  });
});
