import { describe, expect, it, vi } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import type { WriteContext } from "../src/index.ts";
import { intercept, testClient, uniqueName } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

async function isMarked({ client, keysOf }: Server, id: string): Promise<boolean> {
  return (await client.exists(keysOf(id).mark)) === 1;
}

async function warm({ things }: Server, id: string): Promise<void> {
  const before = things.counts().fills;
  await things.get(id);
  await until(() => expect(things.counts().fills).toBe(before + 1));
}

describe("an update", () => {
  it("stores what its write returned, for all servers", async () => {
    const source = new Source({ a: { n: 1 } });
    const [one, other] = await openTwoServers(source);
    await warm(one, "a");
    const updated = await one.things.update("a", source.write("a", { n: 2, at: new Date(0) }));
    expect(updated).toEqual({ n: 2, at: "1970-01-01T00:00:00.000Z" });
    expect(Object.isFrozen(updated)).toBe(true);
    expect(await other.things.lookup("a")).toEqual({ value: updated, from: "shared" });
    expect(await isMarked(one, "a")).toBe(false);
    expect(one.things.counts()).toMatchObject({ updates: 1, refusedUpdates: 0 });
  });

  it("leaves the entry missing where its write returns nothing, which may just not say what is there", async () => {
    const source = new Source({ a: 1 });
    const [one, other] = await openTwoServers(source);
    await warm(one, "a");
    const silent = async () => {
      await source.write("a", 2)();
      return undefined;
    };
    expect(await one.things.update("a", silent)).toBeUndefined();
    expect(await other.things.lookup("a")).toEqual({ value: 2, from: "source" });
  });

  it("leaves the entry missing by the policy cache-aside", async () => {
    const source = new Source({ a: 1 });
    const [one, other] = await openTwoServers(source, { writePolicy: "cache-aside" });
    await warm(one, "a");
    await one.things.update("a", source.write("a", 2));
    expect(await other.things.lookup("a")).toEqual({ value: 2, from: "source" });
  });

  it("returns a value that is too large, and leaves the entry missing", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source, { maxBytes: 4 });
    await warm(server, "a");
    expect(await server.things.update("a", source.write("a", "large"))).toBe("large");
    expect(await server.client.exists(server.keysOf("a").entry)).toBe(0);
    expect(server.things.counts()).toMatchObject({ tooLarge: 1, updates: 1 });
    expect(server.events).toEqual([{ type: "too-large", collection: "thing" }]);
  });

  it("says of a value that JSON can't carry that it is written, and leaves the entry missing", async () => {
    const source = new Source({ a: 1 });
    const server = await openWarmServer(source);
    await warm(server, "a");
    await expect(server.things.update("a", source.write("a", 10n))).rejects.toMatchObject({ code: "INVALID_VALUE" });
    source.rows.set("a", 10);
    expect(await isMarked(server, "a")).toBe(false);
    expect(await server.things.lookup("a")).toEqual({ value: 10, from: "source" });
  });

  it("gives its write a deadline on the monotonic clock, and a signal", async () => {
    const { things } = openServer(new Source(), { pendingMs: 900, commitDeadlineMs: 800 });
    const before = performance.now();
    let context: WriteContext | undefined;
    await things.update("a", (given) => {
      context = given;
      return Promise.resolve(1);
    });
    expect(context?.signal.aborted).toBe(false);
    expect(context?.deadline).toBeGreaterThanOrEqual(before + 800);
    expect(context?.deadline).toBeLessThanOrEqual(performance.now() + 800);
  });

  it("is refused, without its write, while too many of its entry are pending", async () => {
    const source = new Source({});
    const server = openServer(source, { pendingMs: 60_000, commitDeadlineMs: 50_000 });
    const barrier = new Barrier();
    const pending = Array.from({ length: 256 }, () => server.things.update("a", () => barrier.pass("a")));
    await barrier.arrivals(256);
    await expect(server.things.update("a", source.write("a", 1))).rejects.toMatchObject({ code: "OVERLOADED" });
    expect(source.rows.has("a")).toBe(false);
    expect(await server.things.update("b", source.write("b", 1))).toBe(1);
    expect(server.things.counts()).toMatchObject({ refusedUpdates: 1 });
    barrier.release();
    await Promise.all(pending);
    expect(await isMarked(server, "a")).toBe(false);
  });
});

describe("while a write is pending", () => {
  it("C4: its value is read from the source by every server, and nothing is stored", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source);
    await warm(one, "a");
    const barrier = new Barrier();
    const updating = one.things.update("a", async () => {
      await barrier.pass("before");
      source.rows.set("a", "new");
      await barrier.pass("after");
      return "new";
    });
    await barrier.arrivals(1);
    for (const { things } of [one, other]) {
      expect(await things.lookup("a")).toEqual({ value: "old", from: "source" });
      expect(things.counts()).toMatchObject({ uncached: 1 });
    }
    expect(await one.client.exists(one.keysOf("a").entry)).toBe(0);
    barrier.release();
    await updating;
    for (const { things } of [one, other]) expect(await things.lookup("a")).toEqual({ value: "new", from: "shared" });
  });

  it("and another is too, neither's value is stored: nobody knows which was the last", async () => {
    const source = new Source({ a: 0 });
    const [one, other] = await openTwoServers(source);
    const barriers = [new Barrier(), new Barrier()] as const;
    const updates = [one, other].map(({ things }, index) =>
      things.update("a", async () => {
        source.rows.set("a", index);
        await barriers[index]?.pass("written");
        return index;
      }),
    );
    await Promise.all(barriers.map((barrier) => barrier.arrivals(1)));
    barriers[1].release();
    expect(await updates[1]).toBe(1);
    expect(await one.client.exists(one.keysOf("a").entry)).toBe(0);
    expect(await isMarked(one, "a")).toBe(true);
    barriers[0].release();
    expect(await updates[0]).toBe(0);
    expect(await one.client.exists(one.keysOf("a").entry)).toBe(0);
    expect(await isMarked(one, "a")).toBe(false);
  });
});

describe("a write that fails", () => {
  it("leaves its value uncached until the mark lapses, since it may have been done all the same", async () => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, { pendingMs: 500, commitDeadlineMs: 490 });
    await warm(server, "a");
    const failing = server.things.update("a", () => {
      source.rows.set("a", "new, whatever it says");
      throw new Error("the connection to the source broke");
    });
    await expect(failing).rejects.toThrow("the connection to the source broke");
    expect(await server.things.lookup("a")).toEqual({ value: "new, whatever it says", from: "source" });
    expect(server.things.counts()).toMatchObject({ uncached: 1, updates: 0 });
    await until(async () => {
      expect((await server.things.lookup("a")).from).toBe("shared");
    });
    expect(await isMarked(server, "a")).toBe(false);
  });
});

describe("a write that is not done within its deadline", () => {
  it("is of unknown outcome, and its value is dropped when it is done after all", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { pendingMs: 400, commitDeadlineMs: 200 });
    const barrier = new Barrier();
    let signal: AbortSignal | undefined;
    const updating = one.things.update("a", async (context) => {
      signal = context.signal;
      await barrier.pass("a");
      source.rows.set("a", "new");
      return "new";
    });
    await expect(updating).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    expect(signal?.aborted).toBe(true);
    expect(one.events).toEqual([{ type: "outcome-unknown", collection: "thing" }]);
    expect(one.things.counts()).toMatchObject({ unknownOutcomes: 1, updates: 0 });
    // The source does not enforce the deadline: the mark lapses, and the old value is cached.
    await until(async () => {
      expect(await other.things.lookup("a")).toEqual({ value: "old", from: "shared" });
    });
    barrier.release();
    await until(() => expect(one.things.counts().invalidations).toBe(1));
    expect(await other.things.get("a")).toBe("new");
  });

  it("is not begun if that has passed before: the event loop may have stood still", async () => {
    const source = new Source({ a: "old" });
    const client = intercept(testClient(), async (send) => {
      const reply = await send();
      const stallsUntil = performance.now() + 80;
      while (performance.now() < stallsUntil);
      return reply;
    });
    const server = openServer(source, { client, pendingMs: 60, commitDeadlineMs: 50 });
    const write = vi.fn(source.write("a", "new"));
    await expect(server.things.update("a", write)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(write).not.toHaveBeenCalled();
    expect(server.things.counts()).toMatchObject({ refusedUpdates: 1, unknownOutcomes: 0 });
  });
});

describe("a write whose mark was lost, or lapsed by a clock that jumped", () => {
  it("voids what was loaded meanwhile", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source);
    const written = new Barrier();
    const updating = one.things.update("a", async () => {
      await written.pass("a");
      source.rows.set("a", "new");
      return "new";
    });
    await written.arrivals(1);
    await one.client.del(one.keysOf("a").mark);
    const loaded = source.hold();
    const reading = other.things.get("a");
    await loaded.arrivals(1);
    written.release();
    expect(await updating).toBe("new");
    expect(one.events).toEqual([{ type: "lapsed", collection: "thing" }]);
    loaded.release();
    expect(await reading).toBe("old"); // it came before
    await until(() => expect(other.things.counts()).toMatchObject({ refusedFills: 1 }));
    expect(await other.things.get("a")).toBe("new");
  });

  it("drops what was stored meanwhile", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source);
    const written = new Barrier();
    const updating = one.things.update("a", async () => {
      await written.pass("a");
      source.rows.set("a", "new");
      return "new";
    });
    await written.arrivals(1);
    await one.client.del(one.keysOf("a").mark);
    await warm(other, "a");
    written.release();
    await updating;
    expect(await other.things.get("a")).toBe("new");
  });

  it("keeps other writes of the entry from storing what may not be the last", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source);
    const [first, second] = [new Barrier(), new Barrier()];
    const late = one.things.update("a", async () => {
      await first.pass("a");
      source.rows.set("a", "last");
      return "last";
    });
    await first.arrivals(1);
    await one.client.del(one.keysOf("a").mark);
    const other1 = other.things.update("a", async () => {
      source.rows.set("a", "not the last");
      await second.pass("a");
      return "not the last";
    });
    await second.arrivals(1);
    first.release();
    await late;
    second.release();
    await other1;
    expect(await other.things.get("a")).toBe("last");
  });
});

describe("a mark that a dead writer has left", () => {
  it("lapses, and goes with the next read or write of its entry", async () => {
    const source = new Source({ a: 1 });
    const name = uniqueName();
    const times = { pendingMs: 100, commitDeadlineMs: 90 };
    const dying = await openWarmServer(source, { name, ...times });
    const survivor = openServer(source, { name, ...times });
    void dying.things.update("a", () => new Promise(() => undefined)).catch(() => undefined);
    await until(async () => expect(await isMarked(survivor, "a")).toBe(true));
    expect(await survivor.client.pttl(survivor.keysOf("a").mark)).toBe(-1); // C8: no expiry, so eviction spares it
    await until(async () => {
      expect((await survivor.things.lookup("a")).from).toBe("shared");
    });
    expect(await isMarked(survivor, "a")).toBe(false);
  });
});
