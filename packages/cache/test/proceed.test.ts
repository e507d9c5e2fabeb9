import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { CatchUp } from "../src/catch-up.ts";
import { type EntryKeys, createKeys } from "../src/keys.ts";
import { openBesideAnother, typesOf, unavailable } from "./harness/outage.ts";
import type { ServerOptions } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

describe('F7: onUnavailable: "proceed"', () => {
  const proceeding = { onUnavailable: "proceed", pendingMs: 5_000, commitDeadlineMs: 4_000 } as const;

  /** Another server has cached the old value; Redis is gone for this one. */
  async function openInOutage(source: Source, options: ServerOptions = {}) {
    const opened = await openBesideAnother(source, { ...proceeding, ...options });
    await opened.other.things.get("a");
    await until(() => expect(opened.other.things.counts().fills).toBe(1));
    await opened.proxy.set("refuse");
    return opened;
  }

  async function expectCaughtUp({ other, server, proxy }: Awaited<ReturnType<typeof openInOutage>>): Promise<void> {
    await proxy.set("pass");
    await until(() => expect(typesOf(server)).toContain("caught-up"));
    expect(await other.things.get("a")).toBe("new");
    expect(await server.things.get("a")).toBe("new");
  }

  it("writes, never gives the old value itself, and invalidates it once Redis is back", async () => {
    const source = new Source({ a: "old" });
    const outage = await openInOutage(source);
    const { server, other } = outage;
    expect(await server.things.update("a", source.write("a", "new"))).toBe("new");
    expect(typesOf(server)).toEqual(["proceeded"]);
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
    expect(await other.things.lookup("a")).toEqual({ value: "old", from: "shared" }); // which the option accepts
    expect(server.things.counts()).toMatchObject({ updates: 1, proceeded: 1, uncached: 1, unavailable: 0 });
    await expectCaughtUp(outage);
  });

  it("does so too after a write that failed, since it may have been done all the same", async () => {
    const source = new Source({ a: "old" });
    const outage = await openInOutage(source);
    const failing = outage.server.things.update("a", () => {
      source.rows.set("a", "new");
      throw new Error("the connection to the source broke");
    });
    await expect(failing).rejects.toThrow("the connection to the source broke");
    await expectCaughtUp(outage);
  });

  it("does so too after a write that was not done within its deadline", async () => {
    const source = new Source({ a: "old" });
    const outage = await openInOutage(source, { commitDeadlineMs: 300 });
    const never = outage.server.things.update("a", () => {
      source.rows.set("a", "new");
      return new Promise(() => undefined);
    });
    await expect(never).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    await expectCaughtUp(outage);
  });

  it("does so too if Redis was back before the write was done, and the old value was loaded again", async () => {
    const source = new Source({ a: "old" });
    const outage = await openInOutage(source);
    const { server, other, proxy } = outage;
    const barrier = new Barrier();
    const updating = server.things.update("a", async () => {
      await barrier.pass("a");
      source.rows.set("a", "new");
      return "new";
    });
    await barrier.arrivals(1);
    await proxy.set("pass");
    await until(() => expect(typesOf(server)).toContain("caught-up"));
    expect(await other.things.get("a")).toBe("old");
    await until(async () => expect((await other.things.lookup("a")).from).toBe("shared"));
    barrier.release();
    expect(await updating).toBe("new");
    expect(await server.things.get("a")).toBe("new");
    await until(async () => expect(await other.things.get("a")).toBe("new"));
  });

  it("notes invalidations, and refuses those that it could not note", async () => {
    const source = new Source({ a: "old" });
    const outage = await openInOutage(source);
    const { server } = outage;
    const many = Array.from({ length: 10_001 }, (_, index) => `${index}`);
    await expect(server.things.invalidateMany(many)).rejects.toMatchObject(unavailable);
    expect(server.things.counts().proceeded).toBe(0);
    source.rows.set("a", "new");
    await server.things.invalidateMany(["a", "b"]);
    expect(server.things.counts()).toMatchObject({ proceeded: 2, invalidations: 0 });
    expect(await server.things.get("a")).toBe("new");
    await expectCaughtUp(outage);
    await until(() => expect(server.things.counts().invalidations).toBe(2));
  });
});

describe("the room for what is owed", () => {
  it("is found by as many updates of one moment as it holds, and no more", async () => {
    const { server, proxy } = await openBesideAnother(new Source(), {
      onUnavailable: "proceed",
      pendingMs: 60_000,
      commitDeadlineMs: 50_000,
    });
    await proxy.set("refuse");
    const ids = Array.from({ length: 10_005 }, (_, index) => `${index}`);
    const updates = await Promise.allSettled(ids.map((id) => server.things.update(id, () => Promise.resolve(id))));
    expect(updates.filter(({ status }) => status === "rejected")).toHaveLength(5);
    expect(server.things.counts()).toMatchObject({ proceeded: 10_000, refusedUpdates: 5 });
  });
});

describe("entries that are owed an invalidation", () => {
  const keysOf = (id: string) => createKeys("c", "t").of(id);
  const keys = keysOf("a");

  function openCatchUp(drop: (keys: readonly EntryKeys[]) => Promise<void>, onDone = vi.fn()) {
    const catchUp = new CatchUp({ drop }, onDone);
    onTestFinished(() => {
      catchUp.close();
    });
    return catchUp;
  }

  it("are paid though others can't be, and not again with those", async () => {
    const dead = Array.from({ length: 300 }, (_, index) => keysOf(`dead ${index}`));
    const isDead = new Set(dead.map(({ entry }) => entry));
    const dropped: string[] = [];
    const onDone = vi.fn();
    const catchUp = openCatchUp((some) => {
      for (const { entry } of some) if (!isDead.has(entry)) dropped.push(entry);
      return some.some(({ entry }) => isDead.has(entry)) ? Promise.reject(new Error("down")) : Promise.resolve();
    }, onDone);
    for (const each of [...dead, keys]) catchUp.add(each);
    await until(() => expect(catchUp.owes(keys)).toBe(false));
    catchUp.add(keysOf("b"));
    await until(() => expect(catchUp.owes(keysOf("b"))).toBe(false));
    expect(dropped).toEqual([keys.entry, keysOf("b").entry]);
    expect(onDone.mock.calls).toEqual([[1], [1]]);
    for (const each of dead) expect(catchUp.owes(each)).toBe(true);
  });

  it("are paid a bounded number at a time, and all in one round where their servers are there", async () => {
    let [running, most] = [0, 0];
    const onDone = vi.fn();
    const catchUp = openCatchUp(async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    }, onDone);
    for (let id = 0; id < 1_000; id += 1) catchUp.add(keysOf(`${id}`));
    await until(() => expect(onDone).toHaveBeenCalledTimes(1));
    expect(onDone).toHaveBeenCalledWith(1_000);
    expect(most).toBe(128);
  });

  it("stay so if they are owed again while they are paid", async () => {
    const drops: Barrier[] = [];
    const drop = () => {
      const barrier = new Barrier();
      drops.push(barrier);
      return barrier.pass("drop");
    };
    const catchUp = openCatchUp(drop);
    catchUp.add(keys);
    await until(() => expect(drops).toHaveLength(1));
    catchUp.add(keys);
    drops[0]?.release();
    await until(() => expect(drops).toHaveLength(2));
    expect(catchUp.owes(keys)).toBe(true);
    drops[1]?.release();
    await until(() => expect(catchUp.owes(keys)).toBe(false));
  });

  it("are not asked for any more once the cache is closed", async () => {
    const failed = new Barrier();
    const drop = vi.fn(async () => {
      await failed.pass("drop");
      throw new Error("Redis is still gone");
    });
    const catchUp = new CatchUp({ drop }, () => undefined);
    catchUp.add(keys);
    await failed.arrivals(1);
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    catchUp.close();
    failed.release();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(drop).toHaveBeenCalledTimes(1);
  });
});
