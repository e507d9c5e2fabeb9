import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { CatchUp } from "../src/catch-up.ts";
import { createKeys } from "../src/keys.ts";
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
    expect(server.things.counts().invalidations).toBe(2);
  });
});

describe("entries that are owed an invalidation", () => {
  const keys = createKeys("c", "t").of("a");

  it("stay so if they are owed again while they are paid", async () => {
    const drops: Barrier[] = [];
    const drop = () => {
      const barrier = new Barrier();
      drops.push(barrier);
      return barrier.pass("drop");
    };
    const catchUp = new CatchUp({ drop }, () => undefined);
    onTestFinished(() => {
      catchUp.close();
    });
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
