import { afterEach, describe, expect, it, vi } from "vitest";
import express from "express";
import { session } from "../src/index.ts";
import { memoryRedis } from "../src/memory.ts";
import { Browser, serve } from "./harness/app.ts";
import { cookie, failureOf, startEngine } from "./harness/engine.ts";

vi.mock("./harness/redis.ts", async (original) => ({
  ...(await original<object>()),
  testClient: memoryRedis,
  itOnRedis: () => undefined,
}));

describe("what holds on Redis holds in memory:", async () => {
  await import("./sessions.test.ts");
  await import("./redis-store.test.ts");
  await import("./user-sessions.test.ts");
  await import("./rotation.test.ts");
  await import("./rotate-session.test.ts");
  await import("./encryption.test.ts");
  await import("./migration.test.ts");
  await import("./middleware.test.ts");
});

describe("memoryRedis", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("keeps sessions until the clock, a faked one too, has passed their end", async () => {
    vi.useFakeTimers();
    const { create, data, sessions } = startEngine(memoryRedis(), { absoluteMs: 90_000 });
    await create("a", { n: 1 });
    vi.advanceTimersByTime(65_000);
    expect(await data("a")).toEqual({ n: 1 });
    vi.advanceTimersByTime(1_000);
    expect(await sessions.load("a")).toBeUndefined();
  });

  it("tells of an expired session as a sweep finds it", async () => {
    vi.useFakeTimers();
    const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string;
    const { create, counted, sessions } = startEngine(memoryRedis(), { userOf, sweepMs: 1_000 });
    await create("a", { user: "ann" });
    await vi.advanceTimersByTimeAsync(68_000);
    expect(counted("expired")).toEqual([{ type: "expired", handle: sessions.handleOf("a") }]);
    expect(await sessions.listForUser("ann")).toEqual([]);
  });

  it("is one server to all who have it, and another to those who have another", async () => {
    const client = memoryRedis();
    const prefix = "shop:";
    const [one, two, other] = [
      startEngine(client, { prefix }),
      startEngine(client.duplicate(), { prefix }),
      startEngine(memoryRedis(), { prefix }),
    ];
    const told: string[] = [];
    const end = await two.sessions.subscribe((event) => told.push(event.type));
    await one.create("a", { n: 1 });
    expect(await two.data("a")).toEqual({ n: 1 });
    expect(await other.sessions.load("a")).toBeUndefined();
    await one.sessions.destroy("a");
    expect(told).toEqual(["created", "destroyed"]);
    end();
    await one.create("b", {});
    expect(told).toHaveLength(2);
  });

  it("serves an app as Redis does", async () => {
    const app = express();
    app.use(session({ client: memoryRedis(), secret: "s" }));
    app.get("/", (req, res) => {
      Object.assign(req.session, req.query);
      res.json(req.session);
    });
    const browser = new Browser(await serve(app));
    await browser.get("/?user=ann");
    expect(await browser.json("/")).toMatchObject({ user: "ann" });
  });

  it("is away once it is disconnected", async () => {
    const client = memoryRedis();
    const { create, sessions } = startEngine(client);
    await create("a", {});
    client.disconnect();
    expect((await failureOf(sessions.load("a"))).code).toBe("UNAVAILABLE");
    expect((await failureOf(sessions.commit(sessions.born("b"), { cookie }))).code).toBe("UNAVAILABLE");
  });

  it("says what it does not know", async () => {
    const client = memoryRedis();
    expect(() => void client.hset("a", "b", 1)).toThrow("memoryRedis() knows no hset");
    await expect(client.evalsha("a script of somebody else", 1, "a")).rejects.toThrow("no scripts but those");
    await client.set("a", "text");
    await expect(client.set("a", "text", "NX")).rejects.toThrow("knows no SET with NX");
    await expect(client.zrange("a", 0, "-1")).rejects.toThrow("WRONGTYPE");
    expect(await Promise.resolve(client)).toBe(client);
  });
});
