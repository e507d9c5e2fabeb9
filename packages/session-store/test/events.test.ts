import { randomUUID } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { connect, connectCluster, startOwnCluster } from "../../redis-kit/test/harness/redis.ts";
import { type LifecycleEvent, type MissedEvent, type SessionEvent, sessionChannel } from "../src/index.ts";
import { failureOf, startEngine } from "./harness/engine.ts";
import { cutListeners } from "./harness/listeners.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

/** Two servers' engines; `told`: what the second hears of both. */
async function twoServers() {
  const prefix = uniquePrefix();
  const named = client.duplicate({ connectionName: prefix });
  onTestFinished(() => named.disconnect());
  const [one, two] = [startEngine(client, { prefix }), startEngine(named, { prefix })];
  const told: (LifecycleEvent | MissedEvent)[] = [];
  const end = await two.sessions.subscribe((event) => told.push(event));
  return { one, two, told, end, channel: `${prefix}h:events` };
}

describe("S9: events", () => {
  it("are told on the diagnostics channel, without an id or a value", async () => {
    const { sessions, create, change } = startEngine(client);
    const seen: SessionEvent[] = [];
    const hear = (event: unknown) => seen.push(event as SessionEvent);
    subscribe(sessionChannel, hear);
    onTestFinished(() => void unsubscribe(sessionChannel, hear));
    await create("the-secret-id", { secret: "the-secret-value" });
    await change("the-secret-id", { secret: "another-secret-value" });
    await sessions.destroy("the-secret-id", { by: "admin" });
    const handle = sessions.handleOf("the-secret-id");
    expect(seen).toEqual([
      { type: "created", handle },
      { type: "destroyed", handle, reason: "request", by: "admin" },
    ]);
    expect(JSON.stringify(seen)).not.toContain("secret");
  });

  it("of one server are told on another, until it stops listening", async () => {
    const { one, two, told, end } = await twoServers();
    await one.create("a", {});
    await one.sessions.destroy("a", { by: "admin" });
    const handle = two.sessions.handleOf("a");
    await vi.waitFor(() => {
      expect(told).toEqual([
        { type: "created", handle },
        { type: "destroyed", handle, reason: "request", by: "admin" },
      ]);
    });
    end();
    await vi.waitFor(async () => expect(await client.publish(`${one.prefix}h:events`, "")).toBe(0));
  });

  it("whoever misses some because the connection was cut is told so", async () => {
    const { one, told, channel } = await twoServers();
    await cutListeners(client, one.prefix);
    await vi.waitFor(() => expect(told).toEqual([{ type: "missed" }]));
    await one.create("a", {});
    await vi.waitFor(() => expect(told.slice(1)).toMatchObject([{ type: "created" }]));
    await client.publish(channel, "what somebody else says there");
    await one.sessions.destroy("a");
    await vi.waitFor(() => expect(told.slice(2)).toMatchObject([{ type: "destroyed" }]));
  });

  it("are heard by a client that queues no command while it connects", async () => {
    const eager = client.duplicate({ enableOfflineQueue: false });
    onTestFinished(() => eager.disconnect());
    await once(eager, "ready");
    const { sessions, create } = startEngine(eager);
    const told: unknown[] = [];
    await sessions.subscribe((event) => told.push(event));
    await create("a", {});
    await vi.waitFor(() => expect(told).toMatchObject([{ type: "created" }]));
  });

  it("are heard with RESP3", async () => {
    const modern = client.duplicate({ protocol: 3 });
    onTestFinished(() => {
      modern.disconnect();
    });
    const { sessions, create } = startEngine(modern);
    const told: unknown[] = [];
    await sessions.subscribe((event) => told.push(event));
    await create("a", {});
    await vi.waitFor(() => {
      expect(told).toMatchObject([{ type: "created" }]);
    });
  });

  it("are heard on a Cluster, also after the connection to the node that told them was cut", async () => {
    const { port } = await startOwnCluster();
    const cluster = connectCluster(port, "added:");
    const { sessions, create } = startEngine(cluster);
    const told: string[] = [];
    await sessions.subscribe((event) => told.push(event.type));
    await create("a", {});
    await sessions.destroy("a");
    await vi.waitFor(() => {
      expect(told).toEqual(["created", "destroyed"]);
    });
    await connect(port).client("KILL", "TYPE", "PUBSUB");
    await vi.waitFor(async () => {
      await create(randomUUID(), {});
      expect(told.length).toBeGreaterThan(2);
    });
  });

  it("can't be subscribed to while Redis is away, and the listener is not told later", async () => {
    const away = client.duplicate({ port: 1, lazyConnect: true });
    away.on("error", () => undefined);
    onTestFinished(() => away.disconnect());
    const { sessions } = startEngine(away, { commandDeadlineMs: 100 });
    expect((await failureOf(sessions.subscribe(() => undefined))).code).toBe("UNAVAILABLE");
  });

  it("a listener that throws keeps no other from being told", async () => {
    const warned = once(process, "warning");
    const { one, two, told } = await twoServers();
    await two.sessions.subscribe(() => {
      throw new Error("in the listener");
    });
    await one.create("a", {});
    await vi.waitFor(() => expect(told).toHaveLength(1));
    expect(String((await warned)[0])).toContain("in the listener");
  });
});
