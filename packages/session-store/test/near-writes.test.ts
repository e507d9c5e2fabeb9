import { describe, expect, it, vi } from "vitest";
import { failureOf } from "./harness/engine.ts";
import { type NearEngine, keysOf, nearWith, openGroup, until } from "./harness/near.ts";
import { intercept, testClient } from "./harness/redis.ts";

const clients = [testClient(), testClient()] as const;

type Two = [NearEngine, NearEngine];

describe("a write of a session with near copies", () => {
  it("begins again when the group has begun anew meanwhile", async () => {
    const revokes = vi.fn();
    const wrap = (near: NearEngine["near"]) =>
      nearWith(near, {
        revoke: async (...args) => {
          revokes();
          return revokes.mock.calls.length === 1 ? "superseded" : near.revoke(...args);
        },
      });
    const [one] = (await openGroup([clients[0]], { wrap })) as [NearEngine];
    expect(revokes).toHaveBeenCalledTimes(2);
    expect(await one.data("settling")).toEqual({ n: 1 });
    await until(async () => expect(await one.client.exists(keysOf(one, "settling").mark)).toBe(0));
  });

  it.each(["is gone", "has lapsed"])("begins again when its token %s meanwhile", async (what) => {
    let revokes = 0;
    const wrap = (near: NearEngine["near"]) =>
      nearWith(near, {
        revoke: async (...args) => {
          revokes += 1;
          const outcome = await near.revoke(...args);
          if (revokes === 2) await spoil();
          return outcome;
        },
      });
    const [one] = (await openGroup([clients[0]], { wrap })) as [NearEngine];
    const { mark } = keysOf(one, "settling");
    const spoil = async () => {
      const [token = ""] = await one.client.hkeys(mark);
      if (what === "is gone") await one.client.del(mark);
      else await one.client.hset(mark, token, 1);
    };
    await one.change("settling", { n: 2 });
    expect(revokes).toBe(3);
    expect(await one.data("settling")).toEqual({ n: 2 });
    expect(await one.client.exists(mark)).toBe(0);
  });

  it("takes effect once where the client sends its finish again", async () => {
    let isToBeTwice = false;
    const client = intercept(clients[0], async (send) => {
      const isTwice = isToBeTwice;
      isToBeTwice = false;
      const reply = await send();
      return isTwice ? send() : reply;
    });
    const wrap = (near: NearEngine["near"]) =>
      nearWith(near, {
        revoke: async (...args) => {
          const outcome = await near.revoke(...args);
          isToBeTwice = hasLostAnswer;
          hasLostAnswer = false;
          return outcome;
        },
      });
    let hasLostAnswer = false;
    const [one] = (await openGroup([client], { wrap })) as [NearEngine];
    hasLostAnswer = true;
    expect(await one.change("settling", { n: 2 })).toBe("stored");
    expect(one.counted("merged")).toEqual([]);
    expect(await one.data("settling")).toEqual({ n: 2 });
    hasLostAnswer = true;
    await one.sessions.destroy("settling");
    expect(await one.sessions.load("settling")).toBeUndefined();
  });

  it("changes nothing, and says so, where this server is in no group", async () => {
    const [one, two] = (await openGroup(clients)) as Two;
    await one.create("a", { n: 1 });
    await two.near.close();
    const { code } = await failureOf(two.change("a", { n: 2 }));
    expect(code).toBe("UNAVAILABLE");
    expect(await one.data("a")).toEqual({ n: 1 });
    expect(await one.client.exists(keysOf(one, "a").mark)).toBe(0);
    // A session that is born concerns nobody's copies.
    expect(await two.create("b", { n: 1 })).toBe("stored");
  });

  it("leaves a mark that ends by itself where its server dies on the way", async () => {
    let isDead = false;
    const wrap = (near: NearEngine["near"]) =>
      nearWith(near, {
        revoke: (...args) => (isDead ? new Promise<never>(() => undefined) : near.revoke(...args)),
      });
    const [one] = (await openGroup([clients[0]], { wrap })) as [NearEngine];
    isDead = true;
    void one.change("settling", { n: 2 });
    const { mark } = keysOf(one, "settling");
    await until(async () => expect(await one.client.pttl(mark)).toBeGreaterThan(5_000));
    expect(await one.client.pttl(mark)).toBeLessThanOrEqual(6_000);
  });

  it("leaves no old copy with who reads all the time", async () => {
    const [one, two] = (await openGroup(clients)) as Two;
    await one.create("a", { n: 0 });
    const over = new AbortController();
    const reading = (async () => {
      while (!over.signal.aborted) {
        await one.sessions.load("a");
        // Also where it is answered from memory others have their turn.
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let n = 1; n <= 50; n += 1) {
      await two.change("a", { n });
      expect(await one.data("a")).toEqual({ n });
    }
    over.abort();
    await reading;
  });
});
