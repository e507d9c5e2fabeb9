import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createMemory } from "../src/index.ts";
import { openOn } from "./harness/drivers.ts";
import { uniqueName } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

describe("memory in place of a Redis", () => {
  it("is shared by all caches on it, and by no other", async () => {
    const source = new Source({ a: 1 });
    const name = uniqueName();
    const memory = createMemory();
    const [one, other, apart] = [memory, memory, createMemory()].map((each) =>
      openOn({ memory: each }, source, { name }),
    );
    await one?.things.get("a");
    await until(async () => expect((await other?.things.lookup("a"))?.from).toBe("shared"));
    expect((await apart?.things.lookup("a"))?.from).toBe("source");
  });

  it("drops the entries of a collection, and what is being loaded or written there", async () => {
    const source = new Source({ a: 1, b: 2 });
    const [one, other] = [createMemory()].flatMap((memory) => {
      const name = uniqueName();
      return [openOn({ memory }, source, { name }), openOn({ memory }, source, { name: uniqueName() })];
    });
    if (one === undefined || other === undefined) throw new Error("There are two.");
    await Promise.all([one.things.get("a"), other.things.get("a")]);
    await until(() => expect(one.things.counts().fills + other.things.counts().fills).toBe(2));
    await one.things.update("b", async () => {
      await one.things.clear();
      return 3;
    });
    expect((await one.things.lookup("a")).from).toBe("source");
    expect((await one.things.lookup("b")).from).toBe("source");
    expect((await other.things.lookup("a")).from).toBe("shared");
  });

  it("holds so many entries, and forgets the one that was used longest ago; marks of writes don't count", async () => {
    const source = new Source(Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`${index}`, index])));
    const memory = createMemory({ maxEntries: 10 });
    const { things } = openOn({ memory }, source);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        things.update(`${index}`, async () => {
          await things.getMany(["20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "0"]);
          return index;
        }),
      ),
    );
    expect(memory.size).toBeLessThanOrEqual(10);
    expect(() => createMemory({ maxEntries: 0 })).toThrow(TypeError);
  });

  it("ends lives by a clock that a test can move, and leaves no timer", async () => {
    vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const source = new Source({ a: 1 });
    const memory = createMemory();
    const { things, cache } = openOn({ memory }, source, { jitter: 0, ttlMs: 1_000 });
    await things.update("a", source.write("a", 1));
    await expect(things.update("b", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    vi.advanceTimersByTime(999);
    expect((await things.lookup("a")).from).toBe("shared");
    vi.advanceTimersByTime(1);
    expect((await things.lookup("a")).from).toBe("source");
    cache.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
