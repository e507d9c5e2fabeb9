import { type Copy, Copies } from "@lockstep/redis-kit";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { createCache } from "../src/index.ts";
import { openBesideAnother } from "./harness/outage.ts";
import { intercept, testClient } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const bounded = { coherence: "bounded", copyMs: 60_000 } as const;

/** Reads until the value is answered from memory. */
async function untilCopied({ things }: Server, id: string): Promise<void> {
  await until(async () => expect((await things.lookup(id)).from).toBe("near"));
}

describe("a near copy", () => {
  it("answers without a trip, and is the same value for all callers", async () => {
    const source = new Source({ a: { name: "Ada" }, none: undefined });
    const server = await openWarmServer(source, bounded);
    for (const id of ["a", "none"]) await untilCopied(server, id);
    const evalsha = vi.spyOn(server.client, "evalsha");
    const before = server.things.counts();
    const [one, other] = await Promise.all([server.things.get("a"), server.things.get("a")]);
    expect(one).toEqual({ name: "Ada" });
    expect(other).toBe(one);
    expect(await server.things.lookup("none")).toEqual({ value: undefined, from: "near" });
    expect(evalsha).not.toHaveBeenCalled();
    expect(server.things.counts()).toEqual({ ...before, nearHits: before.nearHits + 3 });
  });

  it("is kept by no collection that does not ask for it", async () => {
    const server = await openWarmServer(new Source({ a: 1 }));
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    for (let read = 0; read < 3; read += 1) expect((await server.things.lookup("a")).from).toBe("shared");
  });

  it("shows another server's update once it is over, and lives no longer than copyMs from the sending of its read", async () => {
    const source = new Source({ a: "old" });
    const [one, other] = await openTwoServers(source, { coherence: "bounded", copyMs: 300 });
    await untilCopied(one, "a");
    await other.things.update("a", source.write("a", "new"));
    const returnedAt = performance.now();
    let last = "old";
    while (last === "old") {
      // A value read before the bound was over may still be given right after it.
      const askedAt = performance.now();
      last = (await one.things.get("a")) as string;
      if (last === "old") expect(askedAt - returnedAt).toBeLessThan(300);
    }
    expect(last).toBe("new");
  });

  it("lives no longer than its entry", async () => {
    const server = await openWarmServer(new Source({ a: 1 }), { ...bounded, ttlMs: 150 });
    await untilCopied(server, "a");
    await until(async () => expect((await server.things.lookup("a")).from).toBe("source"));
  });

  it.each([
    ["an update", (server: Server, source: Source) => server.things.update("a", source.write("a", "new"))],
    [
      "an invalidation",
      (server: Server, source: Source) => {
        source.rows.set("a", "new");
        return server.things.invalidate("a");
      },
    ],
    [
      "clear()",
      (server: Server, source: Source) => {
        source.rows.set("a", "new");
        return server.things.clear();
      },
    ],
  ])("is dropped at once by %s of this server", async (_name, change) => {
    const source = new Source({ a: "old" });
    const server = await openWarmServer(source, bounded);
    await untilCopied(server, "a");
    await change(server, source);
    expect(await server.things.get("a")).toBe("new");
    expect(server.things.counts().revokedCopies).toBe(1);
  });

  it("is not made of what a read brings that was under way when this server wrote", async () => {
    const source = new Source({ a: "old" });
    let isHeld = false;
    const held: (() => void)[] = [];
    const client = intercept(testClient(), async (send) => {
      const reply = await send();
      if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
      return reply;
    });
    const server = await openWarmServer(source, { ...bounded, client });
    await server.things.get("a");
    await until(() => expect(server.things.counts().fills).toBe(1));
    isHeld = true;
    const reading = server.things.get("a");
    await until(() => expect(held).toHaveLength(1));
    isHeld = false;
    await server.things.update("a", source.write("a", "new"));
    for (const release of held) release();
    expect(await reading).toBe("old"); // it was asked before
    expect(await server.things.get("a")).toBe("new");
  });

  it("is passed over while this server owes an invalidation", async () => {
    const source = new Source({ a: "old" });
    const { server, proxy } = await openBesideAnother(source, { ...bounded, onUnavailable: "proceed" });
    await server.things.get("a");
    await untilCopied(server, "a");
    await proxy.set("refuse");
    await server.things.update("a", source.write("a", "new"));
    expect(await server.things.lookup("a")).toEqual({ value: "new", from: "source" });
  });

  it("goes by want of room, the one that was not read for longest first, and that is counted", async () => {
    const source = new Source({ a: 1, b: 2, c: 3 });
    const server = await openWarmServer(source, { ...bounded, maxCopies: 2 });
    const { things } = server;
    for (const id of ["a", "b", "a", "c"]) await untilCopied(server, id);
    expect((await things.lookup("a")).from).toBe("near");
    expect((await things.lookup("b")).from).toBe("shared");
    expect(things.counts().evictedCopies).toBe(2);
  });
});

describe("the store of near copies", () => {
  const copy = (value: unknown, given: Partial<Copy> = {}): Copy => ({
    value,
    bytes: 100,
    endsAt: Infinity,
    onEvicted: () => undefined,
    ...given,
  });

  it("stays within its bounds, whatever is put into it", () => {
    const operation = fc.record({ key: fc.integer({ min: 0, max: 30 }), bytes: fc.integer({ min: 1, max: 3_000 }) });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const copies = new Copies({ maxEntries: 10, maxBytes: 5_000 });
        for (const { key, bytes } of operations) {
          copies.keep(copies.reserve(`key-${key}`), copy(key, { bytes }));
          expect(copies.size).toBeLessThanOrEqual(10);
          expect(copies.bytes).toBeLessThanOrEqual(5_000);
        }
      }),
    );
  });

  it("keeps nothing that is larger than all of it", () => {
    const copies = new Copies({ maxEntries: 10, maxBytes: 5_000 });
    copies.keep(copies.reserve("a"), copy(1));
    copies.keep(copies.reserve("b"), copy(2, { bytes: 6_000 }));
    expect(copies.get("b")).toBeUndefined();
    expect(copies.get("a")?.value).toBe(1);
  });

  it("keeps nothing of a reservation that a revocation has voided, and what was reserved after it", () => {
    const copies = new Copies({ maxEntries: 10, maxBytes: 5_000 });
    const [first, second] = [copies.reserve("a"), copies.reserve("a")];
    copies.keep(first, copy("first"));
    expect(copies.revoke("a")).toBe(true);
    const third = copies.reserve("a");
    copies.keep(second, copy("second"));
    expect(copies.get("a")).toBeUndefined();
    copies.keep(third, copy("third"));
    expect(copies.get("a")?.value).toBe("third");
    expect(copies.revokeAll("b")).toBe(0);
    expect(copies.revokeAll("a")).toBe(1);
  });
});

describe("near copies are asked for", () => {
  it("by coherence, and copyMs alone is a mistake", () => {
    const { cache } = openServer(new Source());
    const open = (options: object) => () =>
      cache.collection("other", { load: () => Promise.resolve(1), ttlMs: 1, ...options });
    expect(open({ copyMs: 5 })).toThrow("copyMs needs");
    expect(open({ coherence: "loose" })).toThrow("coherence must be");
    expect(open({ coherence: "bounded", copyMs: 0 })).toThrow("copyMs must be");
    expect(() => createCache({ client: testClient(), name: "c", maxCopies: 0 })).toThrow("maxCopies must be");
    expect(() => createCache({ client: testClient(), name: "c", maxCopyBytes: -1 })).toThrow("maxCopyBytes must be");
  });
});
