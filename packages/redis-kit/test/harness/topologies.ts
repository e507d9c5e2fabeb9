import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { onTestFinished } from "vitest";
import {
  expectInSync,
  type Node,
  startCluster,
  startNode,
  startReplicated,
  startSentinels,
  until,
} from "../../../../infra/local/redis-sets.mjs";

export { moveOf } from "../../../../infra/local/redis-sets.mjs";
export type { Node };

/** How long a server is silent before the others think it gone. */
const silenceMs = 800;

/** Real servers that belong together. Who started them stops them; they end with the process of the tests in any case. */
export interface Topology {
  readonly nodes: readonly Node[];
  stop(): Promise<void>;
}

/** A number that a server tells in INFO. */
export async function infoNumber(node: Redis, section: string, field: string): Promise<number> {
  const value = new RegExp(`^${field}:(\\d+)`, "m").exec(await node.info(section))?.[1];
  if (value === undefined) throw new Error(`The server tells no ${field} in INFO ${section}.`);
  return Number(value);
}

/** Three primaries with a third of the slots each, and a replica of each. */
export interface SixNodes extends Topology {
  readonly primaries: readonly Node[];
  /** In the order of their primaries. */
  readonly replicas: readonly Node[];
}

/** A Cluster of six nodes. @throws Error if it is not whole in time */
export async function startSixNodes(): Promise<SixNodes> {
  const directory = await newFolder();
  const cluster = await startCluster({ ...nodesIn(directory), primaries: 3, silenceMs });
  return { ...cluster, ...topologyOf([...cluster.primaries, ...cluster.replicas], directory) };
}

/** A client of a Cluster, closed after the test that asked for it. */
export function connectToCluster(
  { nodes }: SixNodes,
  options: { scaleReads?: "slave"; retryDelayOnTryAgain?: number } = {},
): Cluster {
  const client = new Cluster(
    nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
    options,
  );
  client.on("error", () => undefined); // servers that are stopped on purpose
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

/**
 * A client that asks the sentinels for the primary. Closed after the test that asked for it.
 *
 * @param options `failoverDetector`: it leaves the primary as soon as they name another. Without that it stays with the old one for the
 * eight seconds and more in which that takes itself for a primary; with it, ioredis 6.0 may end for good if they do while it connects.
 */
export function connectBySentinel(
  { sentinels, name }: SentinelSet,
  { failoverDetector = false }: { failoverDetector?: boolean } = {},
): Redis {
  const retrying = { sentinelRetryStrategy: () => 50, retryStrategy: () => 20, enableOfflineQueue: false };
  const client = new Redis({ sentinels: [...sentinels], name, failoverDetector, ...retrying });
  client.on("error", () => undefined); // a failover
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

/** A primary with two replicas, watched by three sentinels. */
export interface SentinelSet extends Topology {
  readonly name: string;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  /** Makes the sentinels promote a replica, as an administrator does. */
  failOver(): Promise<void>;
  /** The server that the sentinels name as the primary. */
  primary(): Promise<Node>;
}

/** A set of servers behind Sentinel. @throws Error if they have not found each other in time */
export async function startSentinelSet(): Promise<SentinelSet> {
  const directory = await newFolder();
  const { primary, replicas } = await startReplicated({ ...nodesIn(directory), replicas: 2 });
  const nodes = [primary, ...replicas];
  const name = "lockstep";
  const watched = [{ name, primary, replicas }];
  const sentinels = await orStopped(topologyOf(nodes, directory), () =>
    startSentinels({ directory, watched, silenceMs }),
  );
  const first = sentinels[0]?.admin;
  return {
    ...topologyOf([...sentinels, ...nodes], directory),
    nodes,
    name,
    sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
    async failOver() {
      // Refused while the sentinels still tell each other of the last one.
      await until("a failover", () => first?.call("SENTINEL", "FAILOVER", name));
    },
    async primary() {
      const [, port] = (await first?.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)) as [string, string];
      const node = nodes.find((each) => each.port === Number(port));
      if (node === undefined) throw new Error("The sentinels name a primary that is none of the set's servers.");
      return node;
    },
  };
}

/** A replica of the server that answers on a port: a primary's, or a proxy's in front of it. */
export async function startReplica(primary: { port: number }): Promise<Topology & { readonly replica: Node }> {
  const directory = await newFolder();
  const admin = new Redis(primary.port, { protocol: 2 });
  await admin.config("SET", "repl-diskless-sync-delay", 0);
  admin.disconnect();
  const settings = ["--replicaof", `127.0.0.1 ${primary.port}`, "--repl-timeout", "5"];
  const replica = await startNode({ ...nodesIn(directory), name: "redis-replica", settings });
  const topology = topologyOf([replica], directory);
  await orStopped(topology, () => until("a replica in sync", () => expectInSync(replica.admin)));
  return { ...topology, replica };
}

function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "lockstep-redis-"));
}

function nodesIn(directory: string) {
  return { directory, role: "state", persistent: false } as const;
}

function topologyOf(nodes: readonly Node[], directory: string): Topology {
  return {
    nodes,
    async stop() {
      for (const { admin, process } of nodes) {
        admin.disconnect();
        // Nothing is to be kept, and one that is stopped or busy would not hear anything else.
        process.kill("SIGKILL");
      }
      await Promise.all(nodes.map(({ process }) => process.exited));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What comes of more work on a topology, of which nothing is left if that fails. */
async function orStopped<T>(topology: Topology, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await topology.stop();
    throw error;
  }
}
