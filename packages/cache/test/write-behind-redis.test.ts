import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { Barrier } from "../../../test/harness/cache/barrier.ts";
import { connect, connectCluster, startOwnCluster } from "../../redis-kit/test/harness/redis.ts";
import { Ledger } from "./harness/ledger.ts";
import { intercept } from "./harness/redis.ts";
import { until } from "./harness/until.ts";
import { openQueueServer, openQueueServers, startQueueRedis, untilAppending } from "./harness/write-behind.ts";

const hour = 3_600_000;

describe("a Redis that is full", () => {
  it("refuses a write whole, serves what it has, and is emptied by what is saved", async () => {
    const { client, port } = await startQueueRedis();
    const ledger = new Ledger<number>();
    ledger.rows.set("elsewhere", { value: 7, version: 1 });
    const server = openQueueServer(ledger, { client, flushAfterMs: hour });
    const { rows, keys } = server;
    await rows.set("a", 1);
    await rows.set("b", 1);
    const everything = async () => {
      const found = (await client.keys(`${server.cache.name}:*`)).filter((key) => !/:(token|lease)/.test(key)).sort();
      return Promise.all(found.map(async (key) => [key, await client.dump(key)]));
    };
    const before = await everything();
    await client.config("SET", "maxmemory", "1mb");

    const refused = { code: "UNAVAILABLE", status: 503 };
    await expect(rows.set("a", 2)).rejects.toMatchObject(refused);
    await expect(rows.set("new", 1)).rejects.toMatchObject(refused);
    await expect(rows.increment("a")).rejects.toMatchObject(refused);
    expect(await everything()).toEqual(before);
    expect(await rows.getMany(["a", "elsewhere", "nowhere"])).toEqual([1, 7, undefined]);
    expect(await rows.backlog()).toMatchObject({ rows: 2 });

    // Another server, which has no lease yet.
    server.cache.close();
    await until(async () => expect(await client.exists(keys.of("a").partition.lease)).toBe(0));
    const [other] = openQueueServers(1, ledger, { port, name: server.cache.name, flushAfterMs: hour, ttlMs: 100 });
    await other?.rows.drain({ timeoutMs: 10_000 });
    expect([ledger.valueOf("a"), ledger.valueOf("b")]).toEqual([1, 1]);
    await until(async () => expect(await client.exists(keys.of("a").entry, keys.of("b").entry)).toBe(0));
    await client.config("SET", "maxmemory", "256mb");
    await other?.rows.set("a", 2);
  });
});

describe("a Redis that is killed and starts again", () => {
  it("has all that was accepted, which is saved", async () => {
    const directory = await mkdtemp(join(tmpdir(), "lockstep-cache-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const port = await freePort();
    const start = () =>
      startRedis({ role: "state", port, directory, persistent: true, settings: ["--appendfsync", "always"] });
    const first = await start();
    const ledger = new Ledger<number>();
    const { rows, keys } = openQueueServer(ledger, { client: connect(port), deadlineMs: 500 });
    ledger.turn("throws");
    const ids = Array.from({ length: 40 }, (_, index) => `${index}`);
    await Promise.all(ids.map((id) => rows.set(id, 1)));
    await rows.increment("0", 41);

    first.kill("SIGKILL");
    await first.exited;
    await expect(rows.set("0", 0)).rejects.toMatchObject({ status: 503 });
    await expect(rows.get("0")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const second = await start();
    onTestFinished(() => second.stop());
    await until(async () => expect((await rows.backlog()).rows).toBe(40));
    expect(await rows.getMany(ids)).toEqual(ids.map((id) => (id === "0" ? 42 : 1)));
    ledger.turn("up");
    await until(() => expect(ledger.rows.size).toBe(40));
    expect(ledger.valueOf("0")).toBe(42);
    await until(async () => expect((await rows.backlog()).rows).toBe(0));
    expect(await connect(port).pttl(keys.of("0").entry)).toBeGreaterThan(0);
  });

  it("does not give what it has from before where the source has newer", async () => {
    const { client } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const { rows } = openQueueServer(ledger, { client });
    await rows.set("a", 1);
    await until(async () => expect((await rows.backlog()).rows).toBe(0));
    ledger.rows.set("a", { value: 2, version: Number.MAX_SAFE_INTEGER });
    expect(await rows.get("a")).toBe(1);
    // What a failover does to the replica that becomes the primary; its data stays.
    await client.replicaof("127.0.0.1", await freePort());
    await client.replicaof("NO", "ONE");
    expect(await rows.get("a")).toBe(2);
    expect(await rows.increment("a")).toBe(3);
  });
});

describe("a write that its client sends again, since the connection broke before the answer", () => {
  it("counts once", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const twice = intercept(connect(port), async (send) => {
      await send();
      return send();
    });
    const { rows } = openQueueServer(ledger, { client: twice, flushAfterMs: hour });
    const results = [];
    for (let n = 0; n < 10; n += 1) results.push(await rows.increment("a"));
    expect(results).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(rows.counts().accepted).toBe(10);
  });

  it("counts once when ioredis does that by itself", async () => {
    const { port, client } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const resending = connect(port);
    const { rows, keys } = openQueueServer(ledger, { client: resending, flushAfterMs: hour });
    await rows.increment("a");
    const id = await resending.client("ID");
    // A turn later: the script has reached Redis, and its answer is not read before the connection is gone.
    const increments = Array.from({ length: 20 }, () => rows.increment("a"));
    await new Promise(setImmediate);
    resending.stream.pause();
    await until(async () => expect(await client.get(keys.of("a").entry)).toMatch(/:21$/));
    await client.client("KILL", "ID", id);
    resending.stream.resume();
    resending.stream.destroy();
    expect((await Promise.all(increments)).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 2),
    );
    expect(await rows.get("a")).toBe(21);
  });

  it("does not come back over a newer one", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const again = new Barrier();
    let isHeld = false;
    const slow = intercept(connect(port), async (send) => {
      const reply = await send();
      if (!isHeld) return reply;
      await again.pass("again");
      return send();
    });
    const one = openQueueServer(ledger, { client: slow, flushAfterMs: hour });
    const [other] = openQueueServers(1, ledger, { port, name: one.cache.name, flushAfterMs: hour });
    await one.rows.set("a", 0);
    isHeld = true;
    const first = one.rows.set("a", 1);
    await again.arrivals(1);
    await other?.rows.set("a", 2);
    isHeld = false;
    again.release();
    await first;
    expect(await other?.rows.get("a")).toBe(2);
  });

  it("counts once, and is told as unknown, where its process stood still until its token was forgotten", async () => {
    const { port } = await startQueueRedis();
    const deadlineMs = 150;
    let isStalled = false;
    const client = intercept(connect(port), (send) => {
      const first = send();
      if (!isStalled) return first;
      isStalled = false;
      // In the turn in which it has left: Redis runs it meanwhile.
      const end = Date.now() + 2 * deadlineMs + 100;
      while (Date.now() < end);
      return first.then(send); // its answer is lost, and it is sent again
    });
    const { rows } = openQueueServer(new Ledger<number>(), { client, flushAfterMs: hour, deadlineMs });
    await until(() => rows.set("a", 0));
    expect(await rows.increment("a")).toBe(1);
    isStalled = true;
    await expect(rows.increment("a")).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    await until(async () => expect(await rows.get("a")).toBe(2));
  });

  it("is void once its caller has been told that its outcome is unknown, and some time has passed", async () => {
    const { port } = await startQueueRedis();
    const ledger = new Ledger<number>();
    const arrives = new Barrier();
    let isHeld = false;
    const late: unknown[] = [];
    const slow = intercept(connect(port), async (send) => {
      if (!isHeld) return send();
      await arrives.pass("late");
      const reply = await send();
      late.push(reply);
      return reply;
    });
    const { rows } = openQueueServer(ledger, { client: slow, flushAfterMs: hour, deadlineMs: 150 });
    await until(() => rows.set("a", 1));
    isHeld = true;
    await expect(rows.set("a", 2)).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN", headers: {} });
    isHeld = false;
    const told = performance.now();
    await until(() => expect(performance.now() - told).toBeGreaterThan(400));
    arrives.release();
    await until(() => expect(late).toContainEqual([expect.anything(), expect.anything(), "late"]));
    await until(async () => expect(await rows.get("a")).toBe(1));
    expect(rows.counts().unknownOutcomes).toBeGreaterThan(0);
  });
});

describe("write-behind works", () => {
  it.each([2, 3] as const)("with a client that speaks RESP%d and puts a prefix before all keys", async (protocol) => {
    const { port } = await startQueueRedis();
    const client = connect(port, protocol);
    client.options.keyPrefix = "prefix[*]:";
    await expectAllToWork(client);
    expect(await connect(port).keys("test-*")).toEqual([]);
  });

  it("on a Cluster, where each partition has a slot of its own", async () => {
    const { port } = await startOwnCluster();
    const node = connect(port);
    await node.config("SET", "appendonly", "yes");
    await untilAppending(node);
    await expectAllToWork(connectCluster(port, "prefix:"));
  });
});

async function expectAllToWork(client: Parameters<typeof openQueueServer>[1]["client"]): Promise<void> {
  const ledger = new Ledger<number>();
  ledger.rows.set("0", { value: 100, version: 1 });
  const { rows } = openQueueServer(ledger, { client, maxAttempts: 1 });
  const ids = Array.from({ length: 40 }, (_, index) => `${index}`);
  expect(await Promise.all(ids.map((id) => rows.increment(id)))).toEqual([101, ...Array<number>(39).fill(1)]);
  await Promise.all(ids.slice(20).map((id) => rows.set(id, 7)));
  expect(await rows.drain({ timeoutMs: 10_000 })).toBe(0);
  expect(ids.map((id) => ledger.valueOf(id))).toEqual([
    101,
    ...Array<number>(19).fill(1),
    ...Array<number>(20).fill(7),
  ]);
  ledger.poison.add("5");
  await rows.set("5", 55);
  await until(async () => {
    await rows.increment("6");
    expect(await rows.deadLetters()).toMatchObject([{ id: "5", attempts: 1 }]);
  });
  ledger.poison.clear();
  expect(await rows.retryDeadLetters()).toBe(1);
  await until(() => expect(ledger.valueOf("5")).toBe(55));
  expect(await rows.getMany(["0", "5", "39", "none"])).toEqual([101, 55, 7, undefined]);
}
