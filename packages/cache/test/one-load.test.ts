import { describe, expect, it } from "vitest";
import { type Deferred, deferred } from "../src/deferred.ts";
import { createKeys } from "../src/keys.ts";
import { intercept, testClient, uniqueName } from "./harness/redis.ts";
import { openServer, openTwoServers, openWarmServer, type Server } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

/** From now on somebody is always loading it. @returns what the entry holds */
async function loadForever({ things, client, keysOf }: Server, id: string): Promise<string> {
  await things.get("script is known from now on");
  const epoch = (await client.get(keysOf("script is known from now on").entry))?.slice(0, 16) ?? "";
  await client.set(keysOf(id).entry, `${epoch} fsomebody`);
  return `${epoch} fsomebody`;
}

describe("F3: a missing entry", () => {
  it("is loaded by one caller for all servers; the others get what it stores", async () => {
    const source = new Source();
    source.rows.set("a", "value");
    const [one, other] = await openTwoServers(source);
    const barrier = source.hold();
    const first = one.things.lookup("a");
    await barrier.arrivals(1);
    const others = [one.things.lookup("a"), other.things.lookup("a"), other.things.lookup("a")];
    await until(() => expect(one.things.counts().waited + other.things.counts().waited).toBe(2));
    barrier.release();
    expect(await first).toEqual({ value: "value", from: "source" });
    for (const read of others) expect(await read).toEqual({ value: "value", from: "shared" });
    expect(source.loads).toHaveLength(1);
  });

  it("is loaded by the next at once when a load fails, and only the caller of that one is told", async () => {
    const loads: Deferred<unknown>[] = [];
    const load = () => {
      const held = deferred<unknown>();
      loads.push(held);
      return held.promise;
    };
    const [one, other] = await openTwoServers(new Source(), { load });
    const first = one.things.get("a");
    await until(() => expect(loads).toHaveLength(1));
    const others = [one.things.get("a"), other.things.get("a")];
    await until(() => expect(one.things.counts().waited + other.things.counts().waited).toBe(2));
    loads[0]?.reject(new Error("the source is out of order"));
    await expect(first).rejects.toThrow("out of order");
    await until(() => expect(loads).toHaveLength(2));
    loads[1]?.resolve("value");
    expect(await Promise.all(others)).toEqual(["value", "value"]);
    expect(loads).toHaveLength(2);
  });

  it("is loaded by the next when a load hangs", async () => {
    const source = new Source();
    source.rows.set("a", "value");
    const [one, other] = await openTwoServers(source, { loadTimeoutMs: 100 });
    const barrier = source.hold();
    const hanging = one.things.get("a");
    await barrier.arrivals(1);
    const waiting = other.things.get("a");
    source.holdNoMore();
    await expect(hanging).rejects.toMatchObject({ code: "LOAD_TIMEOUT" });
    expect(await waiting).toBe("value");
    barrier.release();
  });

  it("is loaded by the next when the loading server has died", async () => {
    const source = new Source();
    source.rows.set("a", "value");
    const name = uniqueName();
    const survivor = await openWarmServer(source, { name, loadTimeoutMs: 50 });
    // Its read reaches Redis, and nothing comes after.
    const dying = openServer(source, {
      name,
      loadTimeoutMs: 50,
      client: intercept(testClient(), async (send) => {
        await send();
        return new Promise(() => undefined);
      }),
    });
    void dying.things.get("a");
    const { entry } = createKeys(name, "thing").of("a");
    await until(async () => expect(await survivor.client.exists(entry)).toBe(1));
    expect(await survivor.things.get("a")).toBe("value");
    expect(survivor.things.counts()).toMatchObject({ waited: 1, misses: 1, loads: 1 });
  });

  it("is not waited for where a token was given by a Redis that could then not be looked at", async () => {
    const source = new Source({ a: "value" });
    const name = uniqueName();
    const patient = { name, loadTimeoutMs: 60_000 };
    const other = await openWarmServer(source, patient);
    const client = intercept(testClient(), () => Promise.reject(new Error("the connection broke")), ["info"]);
    const server = openServer(source, { ...patient, client });
    expect(await server.things.lookup("a")).toEqual({ value: "value", from: "source" });
    expect(server.things.counts()).toMatchObject({ unavailable: 1, misses: 0 });
    await until(async () => expect(await other.client.exists(other.keysOf("a").entry)).toBe(0));
    await other.things.get("a");
    expect(other.things.counts()).toMatchObject({ waited: 0, misses: 1 });
  });

  it("is loaded past the cache by who has waited for others too long", async () => {
    const source = new Source();
    source.rows.set("a", "value");
    const server = await openWarmServer(source, { loadTimeoutMs: 10 });
    const token = await loadForever(server, "a");
    expect(await server.things.lookup("a")).toEqual({ value: "value", from: "source" });
    expect(server.things.counts()).toMatchObject({ waited: 1, uncached: 1, misses: 1 });
    expect(await server.client.get(server.keysOf("a").entry)).toBe(token);
  });

  it("is waited for no longer by who came first, however many come later and wait with him", async () => {
    const source = new Source({ a: "value" });
    let isSteady = false;
    let held: (() => void) | undefined;
    const server = await openWarmServer(source, {
      loadTimeoutMs: 10,
      // While a look is under way another comes, and is answered before it.
      client: intercept(testClient(), async (send) => {
        const release = held;
        held = undefined;
        const reply = await send();
        if (release !== undefined) setImmediate(release);
        else if (isSteady) {
          void server.things.get("a");
          await new Promise<void>((resolve) => {
            held = resolve;
          });
        }
        return reply;
      }),
    });
    await loadForever(server, "a");
    const first = server.things.lookup("a");
    await until(() => expect(server.things.counts().waited).toBe(1));
    isSteady = true;
    expect(await first).toEqual({ value: "value", from: "source" });
    isSteady = false;
    expect(server.things.counts().waited).toBeGreaterThan(2);
  });

  it("is a load of each server's own while Redis is too young for fills", async () => {
    const source = new Source();
    const server = openServer(source, { pendingMs: 3_600_000 });
    await server.things.get("a");
    await server.things.get("a");
    expect(server.things.counts()).toMatchObject({ uncached: 2, misses: 0, loads: 2 });
    expect(await server.client.exists(server.keysOf("a").entry)).toBe(0);
  });
});
