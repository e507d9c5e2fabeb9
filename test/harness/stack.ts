import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster, Redis } from "ioredis";
import { migrate, startDatabase, startNginx, startWeb } from "../../infra/local/parts.mjs";
import { freePort } from "../../infra/local/processes.mjs";
import type { Server } from "../../infra/local/redis-sets.mjs";
import { type Topology, topologies } from "../../infra/local/settings.mjs";
import { type Starter, startStores, type Stores } from "../../infra/local/stores.mjs";
import { Clocks } from "./clocks.ts";
import { eventually } from "./eventually.ts";
import { Links, redirection } from "./links.ts";
import { startSecureStores } from "./secure-stores.ts";
import { Restartable, Started } from "./started.ts";

/** Has a server write what it holds when it is asked. */
const probe = fileURLToPath(new URL("soak/probe.mjs", import.meta.url));

/** What a server holds, after a collection of garbage. */
interface Held {
  readonly heapBytes: number;
  readonly timers: number;
  readonly sockets: number;
  readonly descriptors: number;
}

/** The ladder: the same app on three session stacks, each with what the one before lacks. */
export const sessionStacks = ["connect-redis", "store", "middleware"] as const;
export type SessionStack = (typeof sessionStacks)[number];

export const profileWrites = ["write-through", "cache-aside"] as const;
export type ProfileWrites = (typeof profileWrites)[number];

export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** What the servers of each stack sign session cookies with. */
export const sessionSecret = "the-secret-of-a-throwaway-stack";

export interface StackOptions {
  /** What the servers share; that of the run unless told, which is two Redis by role. */
  readonly topology?: Topology | "secure";
  readonly sessionStack: SessionStack;
  /** What a changed profile leaves in the cache; the app's default unless told. */
  readonly profileWrites?: ProfileWrites;
  /** How many replicas must have a change before it is acknowledged; none unless told. */
  readonly stateReplicas?: number;
  /** Whether servers keep near copies; they don't unless told. */
  readonly nearCopies?: "on" | "join";
  readonly databaseUrl: string;
  /** How many web servers; 3 unless told. */
  readonly servers?: number;
  /** Which servers, counted from 1, reach the state Redis, and the sentinels, through fault proxies. */
  readonly proxied?: readonly number[];
  /** The same of what holds the shared entries, where that is not the state Redis. */
  readonly cacheProxied?: readonly number[];
  /** Whether the clocks of servers and Redis can be made to jump; they can't unless told. */
  readonly clocks?: boolean;
  /** Whether servers can be asked what they hold; they can't unless told. */
  readonly probed?: boolean;
  /** The program of the web servers; the built app unless told. */
  readonly entry?: string;
}

/** Web servers, nginx in front and stores of their own: real processes on free ports. Servers count from 1. */
export interface Stack {
  /** The address of nginx. */
  readonly nginx: string;
  /** The addresses of the servers, in order. */
  readonly servers: readonly string[];
  /** The state Redis, past every fault proxy. */
  readonly redis: Redis | Cluster;
  readonly stores: StackStores;
  /** What `X-Cache` calls an entry that the servers share. */
  readonly sharedTier: "redis" | "memcached";
  /** The address of one server. */
  server(number: number): string;
  /** The fault proxies between a server and the state Redis. */
  proxy(number: number): Links;
  /** The fault proxies between a server and what holds the shared entries. */
  cacheProxy(number: number): Links;
  /** The last that a server wrote. */
  output(number: number): string;
  /** The process of a server, as it runs now. */
  process(number: number): Restartable["process"];
  /** What a server holds at this moment. */
  probe(number: number): Promise<Held>;
  /** Within a second the clock of a process, such as `web-2` or `redis-state`, is so far ahead of the true time. */
  setClock(name: string, aheadSeconds: number): void;
  /** Ends a server with SIGKILL. */
  kill(number: number): Promise<void>;
  /** Asks a server to end, and waits until it has: with the requests that are under way answered. */
  stopServer(number: number): Promise<void>;
  /** Starts a server again that was killed or stopped, where it was; `entry`: of another program. */
  start(number: number, entry?: string): Promise<void>;
  stopRedis(): Promise<void>;
  /** Starts the stopped Redis again, with the data that it wrote to disk. */
  startRedis(): Promise<void>;
  stopCacheRedis(): Promise<void>;
  /** Starts the stopped cache Redis again: it is empty, and nothing is cached in its first seconds. */
  startCacheRedis(): Promise<void>;
  stop(): Promise<void>;
}

/** An empty database with the demo accounts, shared by the stacks of one test file. */
export async function startSharedDatabase(): Promise<{ url: string; stop: () => Promise<void> }> {
  const started = new Started();
  return started.orStop(async () => {
    const database = started.keep(await startDatabase({ port: await freePort(), directory: undefined }));
    await migrate({ databaseUrl: database.url });
    return database;
  });
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const started = new Started();
  return started.orStop(async () => {
    const directory = started.keep(await newDirectory());
    const { topology = topologyOfRun() } = options;
    const clocks = options.clocks === true ? new Clocks(directory.path) : undefined;
    const stores = started.keep(await startAllStores(topology, directory.path, clocks));
    const links = await startLinks(started, [...stores.state, ...stores.sentinels], options.proxied);
    const cacheServers = [...stores.cache, ...stores.memcached];
    const cacheLinks = await startLinks(started, cacheServers, options.cacheProxied);
    const servers: Restartable[] = [];
    for (let number = 1; number <= (options.servers ?? 3); number += 1) {
      const through = [links.get(number), cacheLinks.get(number)].filter((each) => each !== undefined);
      servers.push(
        started.keep(await startServer(`web-${number}`, directory.path, stores, through, { ...options, clocks })),
      );
    }
    const nginx = started.keep(await startLoadBalancer(servers, directory.path));
    return {
      nginx: nginx.url,
      servers: servers.map(({ url }) => url),
      redis: stores.client,
      stores,
      sharedTier: stores.memcached.length > 0 ? "memcached" : "redis",
      server: (number) => nth(servers, number).url,
      proxy: (number) => linksOf(links, number),
      cacheProxy: (number) => linksOf(cacheLinks, number),
      output: (number) => nth(servers, number).output(),
      process: (number) => nth(servers, number).process,
      probe: (number) => held(nth(servers, number), probeFile(directory.path, `web-${number}`)),
      setClock: (name, aheadSeconds) => {
        if (clocks === undefined) throw new Error("The clocks of this stack can't be set.");
        clocks.set(name, aheadSeconds);
      },
      kill: (number) => nth(servers, number).kill(),
      stopServer: (number) => nth(servers, number).stop(),
      start: (number, entry) => nth(servers, number).start(entry),
      stopRedis: () => stopAll(stores.state),
      startRedis: () => startAll(stores.state),
      stopCacheRedis: () => stopAll(stores.cache),
      startCacheRedis: () => startAll(stores.cache),
      stop: () => started.stop(),
    };
  });
}

/** Of a run of the cross-server tests on another topology than the usual one: see vitest.config.ts. */
function topologyOfRun(): Topology {
  return topologies.find((topology) => topology === process.env["TEST_TOPOLOGY"]) ?? "single";
}

function nth(servers: readonly Restartable[], number: number): Restartable {
  const server = servers[number - 1];
  if (server === undefined) throw new RangeError(`There is no server ${number}.`);
  return server;
}

async function startLinks(
  started: Started,
  targets: readonly Server[],
  numbers: readonly number[] = [],
): Promise<ReadonlyMap<number, Links>> {
  const links = new Map<number, Links>();
  const ports = targets.map(({ port }) => port);
  for (const number of numbers) links.set(number, started.keep(await Links.start(ports)));
  return links;
}

function linksOf(links: ReadonlyMap<number, Links>, number: number): Links {
  const found = links.get(number);
  if (found === undefined) throw new RangeError(`Server ${number} has no fault proxy.`);
  return found;
}

/** What a stack shares, and a client of the state Redis. */
interface StackStores extends Stores {
  readonly client: Redis | Cluster;
  /** What servers need beside the addresses. */
  readonly environment: Readonly<Record<string, string>>;
}

async function startAllStores(
  topology: Topology | "secure",
  directory: string,
  clocks: Clocks | undefined,
): Promise<StackStores & { stop(): Promise<void> }> {
  const starter: Starter = {
    directory,
    // What one of the faults needs at the start.
    settings: ["--enable-debug-command", "local"],
    silenceMs: 1_000,
    step: (_name, work) => work(),
    supervise: (name) => (clocks ? { env: clocks.environment(name) } : {}),
    superviseMember: () => ({}),
  };
  const stores =
    topology === "secure"
      ? await startSecureStores(directory, repository)
      : { ...(await startStores[topology](starter)), environment: {} };
  const client = clientOf(topology, stores);
  // Some tests stop what it is connected to; ioredis connects again by itself.
  client.on("error", () => undefined);
  return {
    ...stores,
    client,
    stop: async () => {
      client.disconnect();
      const redis = [...stores.sentinels, ...stores.state, ...stores.cache];
      for (const { admin } of redis) admin.disconnect();
      // Nothing is to be kept, and one that is stopped or busy would not hear anything else.
      const all = [...redis, ...stores.memcached].map(({ process }) => process);
      for (const process of all) process.kill("SIGKILL");
      await Promise.all(all.map(({ exited }) => exited));
    },
  };
}

function clientOf(topology: Topology | "secure", { state, sentinels }: Stores): Redis | Cluster {
  const addressOf = ({ port }: Server) => ({ host: "127.0.0.1", port });
  if (topology === "cluster") return new Cluster(state.map(addressOf));
  const sentinel = { sentinels: sentinels.map(addressOf), name: "state", failoverDetector: true };
  return new Redis({ protocol: 2, ...(topology === "sentinel" ? sentinel : state.map(addressOf)[0]) });
}

async function stopAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map(({ process }) => process.stop()));
}

async function startAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map((server) => server.start()));
}

async function startServer(
  name: string,
  directory: string,
  { stateUrl, cacheUrl, environment }: StackStores,
  links: readonly Links[],
  { clocks, ...options }: Omit<StackOptions, "clocks"> & { clocks: Clocks | undefined },
): Promise<Restartable> {
  const port = await freePort();
  const env = {
    DATABASE_URL: options.databaseUrl,
    DATABASE_POOL_SIZE: "1",
    STATE_REDIS_URL: stateUrl,
    CACHE_URL: cacheUrl,
    SESSION_SECRET: sessionSecret,
    SESSION_STACK: options.sessionStack,
    ...(options.profileWrites && { PROFILE_WRITES: options.profileWrites }),
    ...(options.nearCopies && { NEAR_COPIES: options.nearCopies }),
    ...(options.stateReplicas && { STATE_REPLICAS: `${options.stateReplicas}` }),
    NODE_ENV: "production",
    ...environment,
    ...Links.environment(links),
    ...(options.probed && { TEST_PROBE: probeFile(directory, name) }),
    NODE_OPTIONS: [...(links.length > 0 ? [redirection] : []), ...(options.probed ? [probe] : [])]
      .map((file) => `--import=${file}`)
      .join(" "),
    ...clocks?.environment(name),
  };
  return Restartable.launch((entry = options.entry) =>
    startWeb({ name, port, env, ...(entry !== undefined && { entry }) }),
  );
}

function probeFile(directory: string, name: string): string {
  return join(directory, `${name}.held`);
}

async function held(server: Restartable, file: string): Promise<Held> {
  await rm(file, { force: true });
  server.process.kill("SIGUSR2");
  await eventually("the server has told what it holds", () => existsSync(file));
  const told = JSON.parse(await readFile(file, "utf8")) as Omit<Held, "descriptors">;
  return { ...told, descriptors: (await readdir(`/proc/${server.process.pid}/fd`)).length };
}

async function startLoadBalancer(servers: readonly Restartable[], directory: string) {
  const addresses = servers.map(({ port }) => ({ host: "127.0.0.1", port }));
  return startNginx({ port: await freePort(), servers: addresses, directory });
}

async function newDirectory(): Promise<{ path: string; stop: () => Promise<void> }> {
  const scratch = join(repository, ".lockstep", "test");
  await mkdir(scratch, { recursive: true });
  const path = await mkdtemp(join(scratch, "stack-"));
  return { path, stop: () => rm(path, { recursive: true, force: true }) };
}
