import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { primaries } from "../src/client.ts";
import { Commands } from "../src/commands.ts";
import { scanKeys } from "../src/scan.ts";
import { stopClock } from "./harness/clock.ts";
import {
  connectBySentinel,
  connectToCluster,
  infoNumber,
  startSentinelSet,
  startSixNodes,
} from "./harness/topologies.ts";

// What the tests of the packages above stand on.

it("a Cluster of three primaries and three replicas is whole when it is handed out, and commands of one turn leave together", async () => {
  const cluster = await startSixNodes();
  onTestFinished(() => cluster.stop());
  const client = connectToCluster(cluster);
  const keys = Array.from({ length: 50 }, (_, index) => `key ${index}`);
  await Promise.all(keys.map((key) => client.set(key, "x")));
  expect(client.nodes("master").map(({ options }) => options.port)).toHaveLength(3);
  expect(client.nodes("slave")).toHaveLength(3);
  // A replica is sent what its primary has answered already.
  for (const { admin } of cluster.replicas) await expect.poll(() => admin.dbsize()).toBeGreaterThan(0);

  const commands = new Commands(client, { deadlineMs: 10_000 });
  const reads = async () => {
    const each = cluster.primaries.map(({ admin }) => infoNumber(admin, "stats", "total_reads_processed"));
    return (await Promise.all(each)).reduce((sum, one) => sum + one, 0);
  };
  const before = await reads();
  const goOn = stopClock();
  await Promise.all(keys.map((key) => commands.send("a test", () => client.get(key))));
  goOn();
  // The three questions are among them.
  expect((await reads()) - before - 3).toBeLessThan(keys.length / 4);
}, 30_000);

it("sentinels promote another server when they are asked to, and their clients follow", async () => {
  const set = await startSentinelSet();
  onTestFinished(() => set.stop());
  const client = connectBySentinel(set, { failoverDetector: true });
  await once(client, "ready");
  const { port } = await set.primary();
  await client.set("a", 1);
  await set.failOver();
  const options = { timeout: 20_000 };
  await expect.poll(async () => (await set.primary()).port, options).not.toBe(port);
  await expect.poll(() => client.stream.remotePort, options).toBe((await set.primary()).port);
  await expect.poll(() => client.get("a").catch(() => "refused"), options).toBe("1");
}, 40_000);

it("a scan walks the other primaries where one does not answer, and fails then", async () => {
  const cluster = await startSixNodes();
  onTestFinished(() => cluster.stop());
  const client = connectToCluster(cluster);
  await Promise.all(Array.from({ length: 60 }, (_, index) => client.set(`key ${index}`, "x")));
  const sizes = await Promise.all(cluster.primaries.map(({ admin }) => admin.dbsize()));
  const silent = cluster.primaries.findIndex(({ port }) => port === primaries(client)[0]?.options.port);
  cluster.primaries[silent]?.process.kill("SIGSTOP");
  onTestFinished(() => cluster.primaries[silent]?.process.kill("SIGCONT"));
  const found: string[] = [];
  const walk = async () => {
    const commands = new Commands(client, { deadlineMs: 300 });
    for await (const keys of scanKeys(commands, client, { what: "a test", pattern: "*", batchSize: 7 }))
      found.push(...keys);
  };
  await expect(walk()).rejects.toMatchObject({ failure: "no-reply" });
  expect(new Set(found).size).toBe(60 - (sizes[silent] ?? 0));
}, 30_000);
