import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { repository } from "../stack.ts";

/** A Redis for sessions, and a connection of the test's own to it. */
export interface SessionRedis {
  readonly port: number;
  readonly client: Redis;
  stop(): Promise<void>;
}

/** The three nodes of a Cluster for sessions, and a connection of the test's own to it. */
export interface SessionCluster {
  readonly ports: readonly number[];
  readonly client: Cluster;
  stop(): Promise<void>;
}

/** @param settings more settings of its own, as redis-server takes them: `--name value` */
export async function startSessionRedis(settings: readonly string[] = []): Promise<SessionRedis> {
  const scratch = join(repository, ".lockstep", "test");
  await mkdir(scratch, { recursive: true });
  const directory = await mkdtemp(join(scratch, "sessions-"));
  const port = await freePort();
  const server = await startRedis({ role: "state", port, directory, persistent: false, settings });
  const client = new Redis(port, { protocol: 2 });
  // Some tests hinder this Redis; ioredis connects again by itself.
  client.on("error", () => undefined);
  return {
    port,
    client,
    stop: async () => {
      client.disconnect();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const slots = 16_384;

/** Three primaries that have a third of the slots each. */
export async function startSessionCluster(): Promise<SessionCluster> {
  const nodes: (SessionRedis & { readonly busPort: number })[] = [];
  for (let number = 0; number < 3; number += 1) {
    const busPort = await freePort();
    const cluster = ["--cluster-enabled", "yes", "--cluster-port", `${busPort}`, "--cluster-announce-ip", "127.0.0.1"];
    const node = await startSessionRedis(cluster);
    nodes.push({ ...node, busPort });
  }
  const ports = nodes.map(({ port }) => port);
  for (const [index, { client }] of nodes.entries()) {
    const [from, to] = [index, index + 1].map((third) => Math.round((third * slots) / nodes.length));
    await client.cluster("ADDSLOTSRANGE", from ?? 0, (to ?? slots) - 1);
    for (const { port, busPort } of nodes) await client.call("CLUSTER", "MEET", "127.0.0.1", port, busPort);
  }
  await eventually("the Cluster has all slots on every node", async () => {
    const infos = await Promise.all(nodes.map(({ client }) => client.cluster("INFO")));
    return infos.every((info) => info.includes("cluster_state:ok") && info.includes("cluster_size:3"));
  });
  const client = new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })));
  return {
    ports,
    client,
    stop: async () => {
      client.disconnect();
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}
