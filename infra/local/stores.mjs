// What the web servers share, in each topology: where the sessions are, and where the cache is.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startMemcached } from "./parts.mjs";
import { serverOf, startCluster, startNode, startReplicated, startSentinels } from "./redis-sets.mjs";

/**
 * @typedef {import("./redis-sets.mjs").Node} Node
 * @typedef {import("./redis-sets.mjs").Server} Server
 * @typedef {import("./redis-sets.mjs").Supervise} Supervise
 *
 * @typedef {object} Stores
 * @property {string} stateUrl for STATE_REDIS_URL
 * @property {string} cacheUrl for CACHE_URL
 * @property {readonly Node[]} state the servers that hold sessions; of a set, the first are the primaries that it began with
 * @property {readonly Node[]} cache the same of the shared entries, where that is another Redis
 * @property {readonly Node[]} sentinels
 * @property {readonly Server[]} memcached
 *
 * @typedef {object} Starter how whoever starts them does a step, and looks after what it starts
 * @property {string} directory
 * @property {readonly string[]} [settings] more of them for a Redis that stands alone, as redis-server takes them: `--name value`
 * @property {number} silenceMs how long a server of a set is silent before the others think it gone
 * @property {<T>(name: string, work: () => Promise<T>, describe: (result: T) => string) => Promise<T>} step
 * @property {Supervise} supervise of processes without which nothing works
 * @property {Supervise} superviseMember of processes whose set goes on without one of them
 */

const none = { cache: [], sentinels: [], memcached: [] };

/** @type {Record<import("./settings.mjs").Topology, (starter: Starter) => Promise<Stores>>} */
export const startStores = {
  single: async (starter) => {
    const [state, cache] = await Promise.all([startSingle("state", starter), startSingle("cache", starter)]);
    return { ...none, stateUrl: urlOf(state), cacheUrl: urlOf(cache), state: [state], cache: [cache] };
  },

  memcached: async (starter) => {
    const [state, ...memcached] = await Promise.all([
      startSingle("state", starter),
      ...[1, 2].map((number) => startMemcachedServer(`memcached-${number}`, starter)),
    ]);
    return {
      ...none,
      stateUrl: urlOf(state),
      cacheUrl: `memcached://${hostsOf(memcached)}`,
      state: [state],
      memcached,
    };
  },

  sentinel: async (starter) => {
    const { step, superviseMember, silenceMs } = starter;
    const [state, cache] = await Promise.all([
      // A primary that has lost both replicas takes no writes: another may have been promoted in its place.
      startSet("state", { replicas: 2, settings: ["--min-replicas-to-write", "1"] }, starter),
      startSet("cache", { replicas: 1 }, starter),
    ]);
    const directory = await empty(starter, "sentinels");
    const sentinels = await step(
      "sentinels",
      () => startSentinels({ directory, watched: [state, cache], silenceMs }, superviseMember),
      (nodes) => `ports ${portsOf(nodes)}`,
    );
    const url = `redis+sentinel://${hostsOf(sentinels)}`;
    return {
      ...none,
      stateUrl: `${url}/state`,
      cacheUrl: `${url}/cache`,
      state: [state.primary, ...state.replicas],
      cache: [cache.primary, ...cache.replicas],
      sentinels,
    };
  },

  cluster: async (starter) => {
    const { step, superviseMember, silenceMs } = starter;
    const directory = await empty(starter, "redis-cluster");
    const options = /** @type {const} */ ({ role: "state", directory, persistent: true, primaries: 3, silenceMs });
    const { primaries, replicas } = await step(
      "redis-cluster",
      () => startCluster(options, superviseMember),
      (cluster) => `primaries ${portsOf(cluster.primaries)}`,
    );
    const state = [...primaries, ...replicas];
    const url = `redis+cluster://${hostsOf(state)}`;
    return { ...none, stateUrl: url, cacheUrl: url, state };
  },
};

/**
 * @param {"state" | "cache"} role
 * @param {Starter} starter
 */
function startSingle(role, { directory, step, supervise, settings = [] }) {
  const name = `redis-${role}`;
  return step(
    name,
    () => startNode({ name, role, directory, persistent: role === "state", settings }, supervise),
    urlOf,
  );
}

/**
 * @param {"state" | "cache"} role
 * @param {{ replicas: number, settings?: readonly string[] }} options
 * @param {Starter} starter
 */
async function startSet(role, options, starter) {
  const directory = await empty(starter, `redis-${role}-set`);
  const set = await starter.step(
    `redis-${role}`,
    () => startReplicated({ role, directory, persistent: role === "state", ...options }, starter.superviseMember),
    ({ primary, replicas }) => `primary ${primary.port}, replicas ${portsOf(replicas)}`,
  );
  return { name: role, ...set };
}

/**
 * @param {string} name
 * @param {Starter} starter
 */
function startMemcachedServer(name, { step, supervise }) {
  return step(
    name,
    () => serverOf(name, (port) => startMemcached({ name, port }, supervise(name))),
    ({ port }) => `port ${port}`,
  );
}

/**
 * A folder with nothing in it: its servers would look for each other where they were in an earlier run.
 *
 * @param {Starter} starter
 * @param {string} name
 */
async function empty({ directory }, name) {
  const path = join(directory, name);
  await rm(path, { recursive: true, force: true });
  return path;
}

/** @param {Server} server */
function urlOf({ port }) {
  return `redis://127.0.0.1:${port}`;
}

/** @param {readonly Server[]} servers */
function hostsOf(servers) {
  return servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
}

/** @param {readonly Server[]} servers */
function portsOf(servers) {
  return servers.map(({ port }) => port).join(", ");
}
