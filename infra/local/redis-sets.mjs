// Redis servers that belong together: a primary with replicas, sentinels that watch it, a Cluster. Each a real process.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { startRedis } from "./parts.mjs";
import { freePort, startProcess } from "./processes.mjs";

/**
 * @typedef {import("./processes.mjs").ProcessHandle} ProcessHandle
 * @typedef {import("./processes.mjs").Supervision} Supervision
 *
 * @typedef {object} Server
 * @property {string} name
 * @property {number} port
 * @property {ProcessHandle} process the present one
 * @property {() => Promise<void>} start starts it again where it was, with what it has on disk, once it has ended
 *
 * @typedef {Server & RedisServer} Node
 *
 * @typedef {object} RedisServer
 * @property {number} busPort where the nodes of a Cluster talk to each other; free elsewhere
 * @property {import("ioredis").Redis} admin a connection to it
 *
 * @typedef {(name: string) => Supervision} Supervise who looks after the process of that name
 *
 * @typedef {object} NodeOptions
 * @property {"state" | "cache"} role
 * @property {string} directory created if missing; each server has a folder of its own in it
 * @property {boolean} persistent
 * @property {readonly string[]} [settings] more of them, as redis-server takes them: `--name value`
 */

/** How long a set may take until it can be used. */
const startTimeoutMs = 20_000;

/** Where loss of contact is to be noticed, the servers tell each other that they are there once a second. */
const replication = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

const slots = 16_384;

/**
 * Starts primaries that have the same share of the slots each, and a replica of each.
 *
 * @param {NodeOptions & { primaries: number, silenceMs: number }} options `silenceMs`: how long a node is silent before the
 *   others think it gone
 * @param {Supervise} [supervise]
 * @returns {Promise<{ primaries: Node[], replicas: Node[] }>} the replicas in the order of their primaries
 * @throws {Error} if they are not a whole in time; none of them is left then
 */
export async function startCluster({ primaries: count, silenceMs, settings = [], ...options }, supervise) {
  const clustered = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
  // Nobody who is cut off for a moment is to be kept from standing for election.
  const election = ["--cluster-node-timeout", `${silenceMs}`, "--cluster-replica-validity-factor", "0"];
  const all = [...clustered, ...election, ...settings];
  return orNone(async (start) => {
    const nodes = await Promise.all(
      Array.from({ length: 2 * count }, (_, index) =>
        start(() => startNode({ ...options, name: `redis-${options.role}-${index + 1}`, settings: all }, supervise)),
      ),
    );
    const cluster = { primaries: nodes.slice(0, count), replicas: nodes.slice(count) };
    await meet(nodes);
    await Promise.all(
      cluster.primaries.map(({ admin }, index) => admin.call("CLUSTER", "ADDSLOTSRANGE", ...shareOf(index, count))),
    );
    await Promise.all(
      cluster.replicas.map(async ({ admin }, index) => {
        const id = (await cluster.primaries[index]?.admin.cluster("MYID")) ?? "";
        await until("a replica's meeting with its primary", () => admin.cluster("REPLICATE", id));
      }),
    );
    await untilWhole(cluster);
    return cluster;
  });
}

/**
 * Starts a primary with replicas that have all that it has.
 *
 * @param {NodeOptions & { replicas: number }} options
 * @param {Supervise} [supervise]
 * @returns {Promise<{ primary: Node, replicas: Node[] }>}
 * @throws {Error} if they are not in sync in time; none of them is left then
 */
export async function startReplicated({ replicas: count, settings = [], ...options }, supervise) {
  return orNone(async (start) => {
    const launch = (/** @type {number} */ number, /** @type {readonly string[]} */ more) =>
      start(() =>
        startNode({ ...options, name: `redis-${options.role}-${number}`, settings: [...more, ...settings] }, supervise),
      );
    const primary = await launch(1, []);
    const replicas = await Promise.all(
      Array.from({ length: count }, (_, index) => launch(index + 2, ["--replicaof", `127.0.0.1 ${primary.port}`])),
    );
    await until("replicas in sync", () => Promise.all(replicas.map(({ admin }) => expectInSync(admin))));
    return { primary, replicas };
  });
}

/**
 * Starts three sentinels that watch primaries, each known by a name.
 *
 * @param {object} options
 * @param {string} options.directory created if missing
 * @param {readonly { name: string, primary: Node, replicas: readonly Node[] }[]} options.watched
 * @param {number} options.silenceMs how long a server is silent before a sentinel thinks it gone
 * @param {Supervise} [supervise]
 * @returns {Promise<Node[]>}
 * @throws {Error} if they have not found each other and the replicas in time; none of them is left then
 */
export async function startSentinels({ directory, watched, silenceMs }, supervise) {
  return orNone(async (start) => {
    const sentinels = await Promise.all(
      [1, 2, 3].map((number) => start(() => startSentinel(directory, number, supervise))),
    );
    for (const { name, primary, replicas } of watched) {
      for (const { admin } of sentinels) {
        await admin.call("SENTINEL", "MONITOR", name, "127.0.0.1", primary.port, 2);
        // After an election that nobody has won, the next begins when twice the time of a failover is over.
        const settings = [
          "down-after-milliseconds",
          silenceMs,
          "failover-timeout",
          2_000,
          "parallel-syncs",
          replicas.length,
        ];
        await admin.call("SENTINEL", "SET", name, ...settings);
      }
    }
    await until("sentinels that know each other and the replicas", async () => {
      for (const { name, replicas } of watched) {
        for (const { admin } of sentinels) {
          const flat = /** @type {string[]} */ (await admin.call("SENTINEL", "MASTER", name));
          const told = (/** @type {string} */ field) => flat[flat.indexOf(field) + 1];
          const isWhole = told("num-other-sentinels") === "2" && told("num-slaves") === `${replicas.length}`;
          if (!isWhole || told("flags") !== "master") throw new Error(flat.join(" "));
        }
      }
    });
    return sentinels;
  });
}

/**
 * The move of a slot from its primary to the next, step by step.
 *
 * @param {{ primaries: readonly Node[] }} cluster of which no slot has moved yet
 * @param {number} slot
 */
export function moveOf({ primaries }, slot) {
  const owner = primaries.findIndex((_, index) => slot <= (shareOf(index, primaries.length)[1] ?? 0));
  const [from, to] = [primaries[owner], primaries[(owner + 1) % primaries.length]];
  if (from === undefined || to === undefined) throw new RangeError(`The Cluster has no primary for slot ${slot}.`);
  return {
    async begin() {
      const [source, target] = [await from.admin.cluster("MYID"), await to.admin.cluster("MYID")];
      await to.admin.cluster("SETSLOT", slot, "IMPORTING", source);
      await from.admin.cluster("SETSLOT", slot, "MIGRATING", target);
    },
    async carryOver() {
      for (;;) {
        const [key] = await from.admin.cluster("GETKEYSINSLOT", slot, 10);
        if (key === undefined) return;
        // One by one: in between, keys that belong together are on two nodes.
        await from.admin.migrate("127.0.0.1", to.port, key, 0, 5_000);
      }
    },
    async end() {
      const target = await to.admin.cluster("MYID");
      for (const { admin } of [to, from]) await admin.cluster("SETSLOT", slot, "NODE", target);
    },
  };
}

/**
 * @param {import("ioredis").Redis} replica
 * @throws {Error} unless it has all that its primary has
 */
export async function expectInSync(replica) {
  const info = await replica.info("replication");
  if (!/role:slave[^]*master_link_status:up/.test(info)) throw new Error(info);
}

/**
 * Attempts something again and again until it succeeds.
 *
 * @template T
 * @param {string} what for the message
 * @param {() => T | Promise<T>} attempt
 * @returns {Promise<T>}
 * @throws {Error} naming what did not come within 20 s, with the last reason
 */
export async function until(what, attempt) {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(`${what} did not come within ${startTimeoutMs / 1_000} s.`, { cause: error });
      }
      await delay(20);
    }
  }
}

/**
 * @param {NodeOptions & { name: string }} options
 * @param {Supervise} [supervise]
 * @returns {Promise<Node>}
 */
export async function startNode({ name, role, directory, persistent, settings = [] }, supervise) {
  const busPort = await freePort();
  const bus = settings.includes("--cluster-enabled") ? ["--cluster-port", `${busPort}`] : [];
  const all = [...replication, ...bus, ...settings];
  const own = join(directory, name);
  return nodeOf({ name, busPort }, (port) =>
    startRedis({ name, role, port, directory: own, persistent, settings: all }, supervise?.(name)),
  );
}

/**
 * @param {string} directory
 * @param {number} number
 * @param {Supervise} [supervise]
 * @returns {Promise<Node>}
 */
async function startSentinel(directory, number, supervise) {
  const name = `sentinel-${number}`;
  await mkdir(directory, { recursive: true });
  // A sentinel keeps what it learns in its configuration, so wants a file of its own.
  const file = join(directory, `${name}.conf`);
  await writeFile(file, "");
  return nodeOf({ name, busPort: await freePort() }, (port) =>
    startProcess({
      name,
      command: "redis-server",
      args: [file, "--sentinel", "--bind", "127.0.0.1", "--port", `${port}`, "--dir", directory],
      ready: /Sentinel ID is/,
      ...supervise?.(name),
    }),
  );
}

/**
 * @param {{ name: string, busPort: number }} identity
 * @param {(port: number) => Promise<ProcessHandle>} launch
 * @returns {Promise<Node>}
 */
export async function nodeOf(identity, launch) {
  // Not above: on a fresh clone it is installed after this module is loaded.
  const { Redis } = await import("ioredis");
  const server = await serverOf(identity.name, launch);
  const admin = new Redis(server.port, { protocol: 2, retryStrategy: () => 20 });
  admin.on("error", () => undefined); // a server that is stopped on purpose
  return Object.assign(server, { busPort: identity.busPort, admin });
}

/**
 * @param {string} name
 * @param {(port: number) => Promise<ProcessHandle>} launch
 * @returns {Promise<Server>} on a free port, which stays its own
 */
export async function serverOf(name, launch) {
  const port = await freePort();
  const server = {
    name,
    port,
    process: await launch(port),
    start: async () => {
      server.process = await launch(port);
    },
  };
  return server;
}

/** @param {readonly Node[]} nodes */
async function meet(nodes) {
  // Different from the start: else the nodes find out one after the other who has which.
  await Promise.all(nodes.map(({ admin }, index) => admin.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)));
  // Each is told of each: by gossip alone it would take them ten seconds.
  const pairs = nodes.flatMap((one, index) => nodes.slice(index + 1).map((other) => ({ one, other })));
  await Promise.all(
    pairs.map(({ one, other: { port, busPort } }) => one.admin.call("CLUSTER", "MEET", "127.0.0.1", port, busPort)),
  );
}

/**
 * @param {number} index
 * @param {number} count
 */
function shareOf(index, count) {
  return [Math.round((index * slots) / count), Math.round(((index + 1) * slots) / count) - 1];
}

/**
 * Waits until all nodes agree that the Cluster is whole and all its replicas are in sync.
 *
 * @param {{ primaries: readonly Node[], replicas: readonly Node[] }} cluster
 */
async function untilWhole({ primaries, replicas }) {
  const nodes = [...primaries, ...replicas];
  await until("a Cluster that is whole", async () => {
    for (const { admin } of nodes) {
      const info = await admin.cluster("INFO");
      if (!info.includes("cluster_state:ok") || !info.includes(`cluster_known_nodes:${nodes.length}`))
        throw new Error(info);
      const ranges = /** @type {unknown[][]} */ (await admin.cluster("SLOTS"));
      // Two bounds, the primary, its replica.
      const isShared = ranges.length === primaries.length && ranges.every((range) => range.length === 4);
      if (!isShared) throw new Error(JSON.stringify(ranges));
    }
    await Promise.all(replicas.map(({ admin }) => expectInSync(admin)));
  });
}

/**
 * What `work` starts; none of it is left if it fails.
 *
 * @template T
 * @param {(start: (launch: () => Promise<Node>) => Promise<Node>) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function orNone(work) {
  /** @type {Promise<Node>[]} */
  const started = [];
  try {
    return await work((launch) => {
      const node = launch();
      started.push(node);
      return node;
    });
  } catch (error) {
    for (const result of await Promise.allSettled(started)) {
      if (result.status !== "fulfilled") continue;
      result.value.admin.disconnect();
      await result.value.process.stop();
    }
    throw error;
  }
}
