import { describe, expect, it, onTestFinished, vi } from "vitest";
import { connectCluster, startOwnCluster } from "../../redis-kit/test/harness/redis.ts";
import { createCache, type Cache, type Collection } from "../src/index.ts";
import type { EntryRules } from "../src/drivers/driver.ts";
import { RedisDriver } from "../src/drivers/redis.ts";
import { createKeys } from "../src/keys.ts";
import { expectAllToWork } from "./harness/all-to-work.ts";
import { testClient, uniqueName, untilOldEnough } from "./harness/redis.ts";
import { openServer, openWarmServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const times = { pendingMs: 900, commitDeadlineMs: 800 };

describe("a cache works", () => {
  it.each([2, 3] as const)("with a client that speaks RESP%d", async (protocol) => {
    const source = new Source();
    const { things } = await openWarmServer(source, { client: testClient({ protocol }) });
    await expectAllToWork(things, source);
  });

  it("with a client that puts a prefix before all keys", async () => {
    const source = new Source();
    const keyPrefix = `${uniqueName()}[*]:`;
    const server = await openWarmServer(source, { client: testClient({ keyPrefix }) });
    await expectAllToWork(server.things, source);
    await server.things.update("a", source.write("a", 1));
    expect(await testClient().exists(keyPrefix + server.keysOf("a").entry)).toBe(1);
  });

  it("on a Cluster, where each entry has a slot of its own", async () => {
    const { port } = await startOwnCluster();
    const client = connectCluster(port, "prefix:");
    const source = new Source();
    const cache = createCache({ client, name: uniqueName(), deadlineMs: 10_000 });
    onTestFinished(() => {
      cache.close();
    });
    await cache.ready();
    const [node] = client.nodes("master");
    if (node === undefined) throw new Error("the Cluster has no primary");
    await untilOldEnough(node, times.pendingMs);
    await expectAllToWork(collectionOf(cache, source), source);
  });
});

function collectionOf(cache: Cache, source: Source): Collection<unknown> {
  return cache.collection<unknown>("thing", { load: source.load, ttlMs: 60_000, ...times });
}

describe("servers with different keys share nothing", () => {
  it("two caches of two names on one Redis", async () => {
    const source = new Source();
    source.rows.set("a", 1);
    const [one, other] = [await openWarmServer(source), await openWarmServer(source)];
    await one.things.get("a");
    await until(() => expect(one.things.counts().fills).toBe(1));
    await one.things.clear();
    expect((await other.things.lookup("a")).from).toBe("source");
  });
});

function rulesOf(pendingMs: number): EntryRules {
  return { pendingMs, tokenLifeMs: 1_000, revision: 1, extraMs: 0, asksLife: false };
}

describe("the sweep", () => {
  it("deletes the marks of dead writers of all collections, and no other's", async () => {
    const client = testClient();
    const name = uniqueName();
    const driver = new RedisDriver(client, { name, deadlineMs: 10_000, onEvent: undefined });
    const marks = { lapsed: createKeys(name, "one").of("a"), other: createKeys(name, "two").of("b") };
    const pending = createKeys(name, "two").of("c");
    for (const keys of Object.values(marks)) await driver.begin(keys, rulesOf(1));
    await driver.begin(pending, rulesOf(60_000));
    const others = createKeys(uniqueName(), "one").of("a");
    await driver.begin(others, rulesOf(1));
    const pause = vi.fn(() => Promise.resolve());
    await until(async () => {
      await driver.sweep(pause);
      expect(await client.exists(marks.lapsed.mark, marks.other.mark)).toBe(0);
    });
    expect(await client.exists(pending.mark)).toBe(1);
    expect(await client.exists(others.mark)).toBe(1);
    expect(pause).toHaveBeenCalled();
    await client.del(pending.mark, others.mark);
  });

  it("runs by itself after a minute, unless the cache is closed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const [open, closed] = [openServer(new Source()), openServer(new Source())];
    const [scan, scanOfClosed] = [vi.spyOn(open.client, "scan"), vi.spyOn(closed.client, "scan")];
    closed.cache.close();
    vi.advanceTimersByTime(60_000);
    vi.useRealTimers();
    await until(() => expect(scan).toHaveBeenCalled());
    expect(scanOfClosed).not.toHaveBeenCalled();
  });
});
