import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { expect, onTestFinished, vi } from "vitest";
import { startRedis, type Part } from "../../../../infra/local/parts.mjs";
import { freePort, startProcess } from "../../../../infra/local/processes.mjs";

/** A Redis of the test's own, for tests that stop it, reconfigure it or fill it. */
export async function startOwnRedis({ persistent = false } = {}): Promise<Part> {
  const redis = await startRedis({
    role: "state",
    port: await freePort(),
    directory: await ownFolder(),
    persistent,
  });
  onTestFinished(async () => {
    redis.kill("SIGCONT");
    await redis.stop();
  });
  return redis;
}

/** A Cluster of one node that has all slots. */
export async function startOwnCluster(): Promise<{ port: number }> {
  const port = await freePort();
  const address = ["--bind", "127.0.0.1", "--port", `${port}`, "--cluster-port", `${await freePort()}`];
  const cluster = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
  const redis = await startProcess({
    name: "redis-cluster",
    command: "redis-server",
    args: [...address, ...cluster, "--dir", await ownFolder(), "--save", ""],
    ready: /Ready to accept connections/,
  });
  onTestFinished(() => redis.stop());
  const node = connect(port);
  await node.cluster("ADDSLOTSRANGE", 0, 16_383);
  await vi.waitFor(async () => {
    expect(await node.cluster("INFO")).toContain("cluster_state:ok");
  }, 10_000);
  return { port };
}

export function connect(port: number, protocol: 2 | 3 = 2): Redis {
  const client = new Redis(port, { protocol, retryStrategy: () => 20 });
  client.on("error", () => undefined); // a Redis that is stopped on purpose
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

export function connectCluster(port: number, keyPrefix: string): Cluster {
  const client = new Cluster([{ host: "127.0.0.1", port }], { keyPrefix });
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

async function ownFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lockstep-redis-kit-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
