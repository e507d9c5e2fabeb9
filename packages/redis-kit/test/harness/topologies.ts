import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { onTestFinished, vi } from "vitest";
import { freePort, startProcess, type ProcessHandle } from "../../../../infra/local/processes.mjs";

/** How long a set of servers may take until it can be used. */
const startTimeoutMs = 20_000;

/** How long a server is silent before the others think it gone. */
const silenceMs = 800;

/** One redis-server, and a connection of the test's own to it. */
export interface Node {
  readonly port: number;
  /** Where the nodes of a Cluster talk to each other. */
  readonly busPort: number;
  readonly process: ProcessHandle;
  readonly admin: Redis;
}

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
  const settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", `${silenceMs}`];
  // Nobody who is cut off for a moment is to be kept from standing for election.
  const election = ["--cluster-replica-validity-factor", "0"];
  const folder = await mkdtemp(join(tmpdir(), "lockstep-cluster-"));
  const nodes = await Promise.all(Array.from({ length: 6 }, () => startNode(folder, [...settings, ...election])));
  const cluster = { ...topologyOf(nodes, folder), primaries: nodes.slice(0, 3), replicas: nodes.slice(3) };
  return orStopped(cluster, () => joinNodes(cluster));
}

async function joinNodes({ nodes, primaries, replicas }: SixNodes): Promise<void> {
  // Different from the start: else the nodes find out one after the other who has which.
  await Promise.all(nodes.map(({ admin }, index) => admin.cluster("SET-CONFIG-EPOCH", index + 1)));
  const bounds = [0, 5_461, 10_923, 16_384];
  await Promise.all(
    primaries.map(({ admin }, index) =>
      admin.cluster("ADDSLOTSRANGE", bounds[index] ?? 0, (bounds[index + 1] ?? 0) - 1),
    ),
  );
  // Each is told of each: by gossip alone it would take them ten seconds.
  const pairs = nodes.flatMap((one, index) => nodes.slice(index + 1).map((other) => ({ one, other })));
  await Promise.all(
    pairs.map(({ one, other: { port, busPort } }) => one.admin.call("CLUSTER", "MEET", "127.0.0.1", port, busPort)),
  );
  await Promise.all(
    replicas.map(async ({ admin }, index) => {
      const id = (await primaries[index]?.admin.cluster("MYID")) ?? "";
      await untilStarted("a replica's meeting with its primary", () => admin.cluster("REPLICATE", id));
    }),
  );
  await untilWhole({ nodes, primaries, replicas });
}

/** Waits until all nodes agree that the Cluster is whole and all its replicas are in sync. */
async function untilWhole({ nodes, replicas }: Pick<SixNodes, "nodes" | "primaries" | "replicas">): Promise<void> {
  await untilStarted("a Cluster that is whole", async () => {
    for (const { admin } of nodes) {
      const info = await admin.cluster("INFO");
      if (!info.includes("cluster_state:ok") || !info.includes("cluster_known_nodes:6")) throw new Error(info);
      const slots = (await admin.cluster("SLOTS")) as unknown[][];
      // Two bounds, the primary, its replica.
      if (slots.length !== 3 || slots.some((range) => range.length !== 4)) throw new Error(JSON.stringify(slots));
    }
    await Promise.all(replicas.map(({ admin }) => expectInSync(admin)));
  });
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
  const folder = await mkdtemp(join(tmpdir(), "lockstep-sentinel-"));
  const primary = await startNode(folder, []);
  const replicaOf = ["--replicaof", `127.0.0.1 ${primary.port}`];
  const nodes = [primary, ...(await Promise.all([startNode(folder, replicaOf), startNode(folder, replicaOf)]))];
  const servers = topologyOf(nodes, folder);
  await orStopped(servers, () =>
    untilStarted("replicas in sync", () => Promise.all(nodes.slice(1).map(({ admin }) => expectInSync(admin)))),
  );
  const name = "lockstep";
  const sentinels = await Promise.all([1, 2, 3].map(() => startNode(folder, ["--sentinel"])));
  const all = topologyOf([...sentinels, ...nodes], folder);
  await orStopped(all, () => watch(name, primary, sentinels));
  const first = sentinels[0]?.admin;
  return {
    ...all,
    nodes,
    name,
    sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
    async failOver() {
      // Refused while the sentinels still tell each other of the last one.
      await untilStarted("a failover", () => first?.call("SENTINEL", "FAILOVER", name));
    },
    async primary() {
      const [, port] = (await first?.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)) as [string, string];
      const node = nodes.find((each) => each.port === Number(port));
      if (node === undefined) throw new Error("The sentinels name a primary that is none of the set's servers.");
      return node;
    },
  };
}

async function watch(name: string, primary: Node, sentinels: readonly Node[]): Promise<void> {
  for (const { admin } of sentinels) {
    await admin.call("SENTINEL", "MONITOR", name, "127.0.0.1", primary.port, 2);
    // After an election that nobody has won, the next begins when twice the time of a failover is over.
    const settings = ["down-after-milliseconds", silenceMs, "failover-timeout", 2_000, "parallel-syncs", 2];
    await admin.call("SENTINEL", "SET", name, ...settings);
  }
  await untilStarted("sentinels that know each other and the replicas", async () => {
    for (const { admin } of sentinels) {
      const flat = (await admin.call("SENTINEL", "MASTER", name)) as string[];
      const told = (field: string) => flat[flat.indexOf(field) + 1];
      if (told("num-other-sentinels") !== "2" || told("num-slaves") !== "2" || told("flags") !== "master") {
        throw new Error(flat.join(" "));
      }
    }
  });
}

/** A replica of the server that answers on a port: a primary's, or a proxy's in front of it. */
export async function startReplica(primary: { port: number }): Promise<Topology & { readonly replica: Node }> {
  const folder = await mkdtemp(join(tmpdir(), "lockstep-replica-"));
  const admin = new Redis(primary.port, { protocol: 2 });
  await admin.config("SET", "repl-diskless-sync-delay", 0);
  admin.disconnect();
  const settings = ["--replicaof", `127.0.0.1 ${primary.port}`, "--repl-timeout", "5"];
  const replica = await startNode(folder, settings);
  const topology = { ...topologyOf([replica], folder), replica };
  return orStopped(topology, () => untilStarted("a replica in sync", () => expectInSync(replica.admin)));
}

async function expectInSync(replica: Redis): Promise<void> {
  const info = await replica.info("replication");
  if (!/role:slave[^]*master_link_status:up/.test(info)) throw new Error(info);
}

async function startNode(folder: string, settings: readonly string[]): Promise<Node> {
  const [port, busPort] = [await freePort(), await freePort()];
  const isSentinel = settings.includes("--sentinel");
  // A Cluster names no replica to clients before the primary has said something.
  const replication = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
  const isClustered = settings.includes("--cluster-enabled");
  // A sentinel wants a file to write to, and both kinds one of their own.
  const file = join(folder, `${port}.conf`);
  if (isSentinel) await writeFile(file, "");
  const process = await startProcess({
    name: `redis-${port}`,
    command: "redis-server",
    args: [
      ...(isSentinel ? [file] : []),
      ...["--bind", "127.0.0.1", "--port", `${port}`, "--dir", folder],
      ...(isSentinel ? [] : ["--save", "", "--appendonly", "no", ...replication]),
      ...(isClustered ? ["--cluster-port", `${busPort}`, "--cluster-config-file", `${port}.nodes`] : []),
      ...settings,
    ],
    ready: isSentinel ? /Sentinel ID is/ : /Ready to accept connections/,
    readyTimeoutMs: startTimeoutMs,
  });
  const admin = new Redis(port, { protocol: 2, retryStrategy: () => 20 });
  admin.on("error", () => undefined); // a server that is stopped on purpose
  return { port, busPort, process, admin };
}

function topologyOf(nodes: readonly Node[], folder: string): Topology {
  return {
    nodes,
    async stop() {
      for (const { admin, process } of nodes) {
        admin.disconnect();
        // Nothing is to be kept, and one that is stopped or busy would not hear anything else.
        process.kill("SIGKILL");
      }
      await Promise.all(nodes.map(({ process }) => process.exited));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The same, ready; none of it is left if it does not become so. */
async function orStopped<T extends Topology>(topology: T, makeReady: () => Promise<unknown>): Promise<T> {
  try {
    await makeReady();
    return topology;
  } catch (error) {
    await topology.stop();
    throw error;
  }
}

/** @throws Error naming what did not come, with the last reason */
async function untilStarted<T>(what: string, attempt: () => T | Promise<T>): Promise<T> {
  try {
    return await vi.waitFor(attempt, { timeout: startTimeoutMs, interval: 20 });
  } catch (error) {
    throw new Error(`${what} did not come within ${startTimeoutMs / 1_000} s.`, { cause: error });
  }
}
