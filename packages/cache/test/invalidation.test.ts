import { describe, expect, it, vi } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { countInFlight, testClient } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

async function warm({ things }: Server, ids: readonly string[]): Promise<void> {
  await things.getMany(ids);
  await until(() => expect(things.counts().fills).toBe(ids.length));
}

describe("an invalidation", () => {
  it("makes all servers forget the value", async () => {
    const source = new Source({ a: 1, b: 1, c: 1 });
    const [one, other] = await openTwoServers(source);
    await warm(one, ["a", "b", "c"]);
    for (const id of ["a", "b", "c"]) source.rows.set(id, 2);
    await one.things.invalidate("a");
    expect(await other.things.getMany(["a", "b", "c"])).toEqual([2, 1, 1]);
    await other.things.invalidateMany(["b", "c", "never seen"]);
    expect(await one.things.getMany(["a", "b", "c"])).toEqual([2, 2, 2]);
    expect(one.things.counts().invalidations).toBe(1);
    expect(other.things.counts().invalidations).toBe(3);
  });

  it("of nothing does nothing, and of many is several scripts", async () => {
    const server = openServer(new Source({}));
    await server.things.invalidate("script is known from now on");
    const evalsha = vi.spyOn(server.client, "evalsha");
    await server.things.invalidateMany([]);
    expect(evalsha).not.toHaveBeenCalled();
    await server.things.invalidateMany(Array.from({ length: 300 }, (_, index) => `${index}`));
    expect(evalsha).toHaveBeenCalledTimes(3);
  });

  it("of very many leaves so many at a time: all at once would be answered too late", async () => {
    const { client, most } = countInFlight(testClient());
    const { things } = openServer(new Source(), { client });
    await things.invalidateMany(Array.from({ length: 5_000 }, (_, index) => `${index}`));
    expect(most()).toBe(4);
    expect(things.counts().invalidations).toBe(5_000);
  });

  const drops: [string, (server: Server) => Promise<void>][] = [
    ["an invalidation", ({ things }) => things.invalidate("a")],
    ["the invalidation of all", ({ things }) => things.clear()],
  ];
  it.each(drops)("is not undone by a write that was pending: %s", async (_name, drop) => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source);
    const barrier = new Barrier();
    const updating = one.things.update("a", async () => {
      source.rows.set("a", "ours");
      await barrier.pass("a");
      return "ours";
    });
    await barrier.arrivals(1);
    source.rows.set("a", "changed past the cache, after ours");
    await drop(other);
    barrier.release();
    expect(await updating).toBe("ours");
    expect(await other.things.get("a")).toBe("changed past the cache, after ours");
  });
});

describe("the invalidation of all", () => {
  it("leaves other collections and other caches as they are", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source);
    const neighbour = await openWarmServer(source);
    const sister = server.cache.collection<unknown>("thing2", {
      load: source.load,
      ttlMs: 60_000,
      pendingMs: 900,
      commitDeadlineMs: 800,
    });
    await Promise.all([warm(server, ["a", "{b}", "*"]), warm(neighbour, ["a"]), sister.get("a")]);
    await until(() => expect(sister.counts().fills).toBe(1));
    await server.things.clear();
    expect(await server.client.keys(`${server.cache.name}:1:{thing:*`)).toEqual([]);
    expect((await sister.lookup("a")).from).toBe("shared");
    expect((await neighbour.things.lookup("a")).from).toBe("shared");
  });

  it("finds all of many", async () => {
    const ids = Array.from({ length: 1_500 }, (_, index) => `${index}`);
    const source = new Source(Object.fromEntries(ids.map((id) => [id, 1])));
    const server = await openWarmServer(source, { loadMany: source.loadMany, maxSourceQueue: 2_000 });
    await warm(server, ids);
    await server.things.clear();
    expect(await server.client.keys(`${server.cache.name}:*`)).toEqual([]);
  });
});
