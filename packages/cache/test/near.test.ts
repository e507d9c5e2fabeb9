import { joinNearCache } from "@lockstep/near-cache";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { createKeys } from "../src/keys.ts";
import { type NearServer, openGroup } from "./harness/near.ts";
import { uniqueName } from "./harness/redis.ts";
import { openServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** Reads until the value is answered from memory. */
async function untilCopied(id: string, ...servers: NearServer[]): Promise<void> {
  for (const { things } of servers) await until(async () => expect((await things.lookup(id)).from).toBe("near"));
}

describe("a strict collection with near copies", () => {
  it("answers from memory, and shows another server's update at once", async () => {
    const source = new Source({ a: 0 });
    const [one, two, three] = (await openGroup(source, 3)) as [NearServer, NearServer, NearServer];
    for (let round = 1; round <= 30; round += 1) {
      await untilCopied("a", one, two, three);
      await two.things.update("a", source.write("a", round));
      for (const { things } of [one, two, three]) expect(await things.get("a")).toBe(round);
    }
    expect(one.near.counts()).toMatchObject({ stalls: 0, gaps: 0 });
  });

  it("needs no command for a hit", async () => {
    const source = new Source({ a: 1 });
    const [one] = (await openGroup(source, 1)) as [NearServer];
    await untilCopied("a", one);
    const evalsha = vi.spyOn(one.client, "evalsha");
    for (let read = 0; read < 100; read += 1) expect(await one.things.get("a")).toBe(1);
    expect(evalsha).not.toHaveBeenCalled();
  });

  it("drops copies everywhere by invalidate, invalidateMany and clear", async () => {
    const source = new Source({ a: 1, b: 1 });
    const [one, two] = (await openGroup(source, 2)) as [NearServer, NearServer];
    const changes = [
      () => two.things.invalidate("a"),
      () => two.things.invalidateMany(["a", "b"]),
      () => two.things.clear(),
    ];
    for (const [index, change] of changes.entries()) {
      await untilCopied("a", one, two);
      await source.write("a", index + 2)();
      await change();
      for (const { things } of [one, two]) expect(await things.get("a")).toBe(index + 2);
    }
  });

  it("drops copies that others have made since the mark of an update was lost", async () => {
    const source = new Source({ a: 0 });
    const [one, two] = (await openGroup(source, 2)) as [NearServer, NearServer];
    const { mark } = createKeys(one.cache.name, one.things.type).of("a");
    const write = async () => {
      expect(await two.client.del(mark)).toBe(1);
      await untilCopied("a", one, two);
      return source.write("a", 1)();
    };
    expect(await two.things.update("a", write)).toBe(1);
    for (const { things } of [one, two]) expect(await things.get("a")).toBe(1);
  });

  it("is not copied from a primary that is not the group's, as over a failover in which the old one lives on (C9)", async () => {
    const source = new Source({ a: 1 });
    const { port } = await startOwnRedis();
    const old = connect((await startOwnRedis()).port);
    const duplicate = old.duplicate.bind(old);
    old.duplicate = (options) => duplicate({ ...options, port });
    const [one] = (await openGroup(source, 1, { client: old })) as [NearServer];
    await until(async () => expect((await one.things.lookup("a")).from).toBe("shared"));
    for (let read = 0; read < 10; read += 1) {
      expect(one.near.mayServe()).toBe(true);
      expect((await one.things.lookup("a")).from).toBe("shared");
    }
  });

  it("refuses an update that it can't tell the others of, before it is written", async () => {
    const source = new Source({ a: 1 });
    const [one, two] = (await openGroup(source, 2)) as [NearServer, NearServer];
    await untilCopied("a", one);
    await two.near.close();
    await expect(two.things.update("a", source.write("a", 2))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await one.things.get("a")).toBe(1);
    expect(await one.things.update("a", source.write("a", 3))).toBe(3);
  });

  it("is refused to a server that is in no group, or in another, while copies are kept", async () => {
    const source = new Source({ a: 1 });
    const [one] = (await openGroup(source, 1)) as [NearServer];
    const outsider = openServer(source, { name: one.cache.name });
    await expect(outsider.things.update("a", source.write("a", 2))).rejects.toMatchObject({
      code: "UNSAFE_REDIS",
    });
    await expect(outsider.cache.ready()).rejects.toMatchObject({ code: "UNSAFE_REDIS" });
    const near = await joinNearCache({ client: outsider.client, group: uniqueName(), leaseMs: 300 });
    onTestFinished(() => near.close());
    const other = openServer(source, { name: one.cache.name, client: outsider.client, near });
    await expect(other.cache.ready()).rejects.toMatchObject({ code: "UNSAFE_REDIS" });
    expect(outsider.events).toContainEqual(expect.objectContaining({ type: "unsafe-redis" }));
  });
});

describe("what breaks a strict collection with near copies", () => {
  it("is a change past the cache: it shows when the value is invalidated, everywhere", async () => {
    const source = new Source({ a: 1 });
    const [one, two] = (await openGroup(source, 2)) as [NearServer, NearServer];
    await untilCopied("a", one, two);
    await source.write("a", 2)();
    for (const { things } of [one, two]) expect(await things.get("a")).toBe(1);
    await two.things.invalidate("a");
    for (const { things } of [one, two]) expect(await things.get("a")).toBe(2);
  });

  it("is a second spelling of an id, unless the collection has a key", async () => {
    const source = new Source({ "7": 1, "07": 1 });
    const both = (value: number) => async () => {
      await source.write("07", value)();
      return source.write("7", value)();
    };
    const key = (id: string) => String(Number(id));
    for (const [options, seen] of [[{}, 1] as const, [{ key }, 2] as const]) {
      await both(1)();
      const [one, two] = (await openGroup(source, 2, options)) as [NearServer, NearServer];
      expect(await one.things.get("07")).toBe(1);
      await two.things.update("7", both(2));
      expect(await one.things.get("07")).toBe(seen);
    }
  });
});
