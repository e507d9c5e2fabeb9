import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { migrate, startDatabase, startNginx, startRedis, startWeb } from "../../infra/local/parts.mjs";
import { freePort } from "../../infra/local/processes.mjs";
import { FaultProxy } from "./fault-proxy.ts";

/** The ladder: the same app on three session stacks, each with what the one before lacks. */
export const sessionStacks = ["connect-redis", "store", "middleware"] as const;
export type SessionStack = (typeof sessionStacks)[number];

export const profileWrites = ["write-through", "cache-aside"] as const;
export type ProfileWrites = (typeof profileWrites)[number];

export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** What the servers of each stack sign session cookies with. */
export const sessionSecret = "the-secret-of-a-throwaway-stack";

export interface StackOptions {
  readonly sessionStack: SessionStack;
  /** What a changed profile leaves in the cache; the app's default unless told. */
  readonly profileWrites?: ProfileWrites;
  /** Whether servers keep near copies; they don't unless told. */
  readonly nearCopies?: "on" | "join";
  readonly databaseUrl: string;
  /** How many web servers; 3 unless told. */
  readonly servers?: number;
  /** Which servers, counted from 1, reach the state Redis through a fault proxy. */
  readonly proxied?: readonly number[];
  /** The same of the cache Redis. */
  readonly cacheProxied?: readonly number[];
  /** The program of the web servers; the built app unless told. */
  readonly entry?: string;
}

/** Web servers, nginx in front and two Redis of their own: real processes on free ports. Servers count from 1. */
export interface Stack {
  /** The address of nginx. */
  readonly nginx: string;
  /** The addresses of the servers, in order. */
  readonly servers: readonly string[];
  /** The state Redis, past every fault proxy. */
  readonly redis: Redis;
  /** The address of one server. */
  server(number: number): string;
  /** The fault proxy between a server and the state Redis. */
  proxy(number: number): FaultProxy;
  /** The fault proxy between a server and the cache Redis. */
  cacheProxy(number: number): FaultProxy;
  /** Ends a server with SIGKILL. */
  kill(number: number): Promise<void>;
  /** Starts a killed server again, where it was. */
  start(number: number): Promise<void>;
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
    const redis = started.keep(await startStateRedis(directory.path));
    const cacheRedis = started.keep(await startCacheRedis(directory.path));
    const proxies = await startProxies(started, redis.process.port, options.proxied);
    const cacheProxies = await startProxies(started, cacheRedis.port, options.cacheProxied);
    const servers: Restartable[] = [];
    for (let number = 1; number <= (options.servers ?? 3); number += 1) {
      const redisPorts = {
        state: proxies.get(number)?.port ?? redis.process.port,
        cache: cacheProxies.get(number)?.port ?? cacheRedis.port,
      };
      servers.push(started.keep(await startServer(`web-${number}`, redisPorts, options)));
    }
    const nginx = started.keep(await startLoadBalancer(servers, directory.path));
    return {
      nginx: nginx.url,
      servers: servers.map(({ url }) => url),
      redis: redis.client,
      server: (number) => nth(servers, number).url,
      proxy: (number) => proxyOf(proxies, number),
      cacheProxy: (number) => proxyOf(cacheProxies, number),
      kill: (number) => nth(servers, number).kill(),
      start: (number) => nth(servers, number).start(),
      stopRedis: () => redis.process.stop(),
      startRedis: () => redis.process.start(),
      stopCacheRedis: () => cacheRedis.stop(),
      startCacheRedis: () => cacheRedis.start(),
      stop: () => started.stop(),
    };
  });
}

function nth(servers: readonly Restartable[], number: number): Restartable {
  const server = servers[number - 1];
  if (server === undefined) throw new RangeError(`There is no server ${number}.`);
  return server;
}

async function startProxies(
  started: Started,
  targetPort: number,
  numbers: readonly number[] = [],
): Promise<ReadonlyMap<number, FaultProxy>> {
  const proxies = new Map<number, FaultProxy>();
  for (const number of numbers) proxies.set(number, started.keep(await FaultProxy.start(targetPort)));
  return proxies;
}

function proxyOf(proxies: ReadonlyMap<number, FaultProxy>, number: number): FaultProxy {
  const proxy = proxies.get(number);
  if (proxy === undefined) throw new RangeError(`Server ${number} has no fault proxy.`);
  return proxy;
}

async function startCacheRedis(directory: string): Promise<Restartable> {
  const port = await freePort();
  return Restartable.launch(() => startRedis({ role: "cache", port, directory, persistent: false }));
}

async function startStateRedis(directory: string) {
  const port = await freePort();
  const process = await Restartable.launch(() => startRedis({ role: "state", port, directory, persistent: true }));
  const client = new Redis(process.url, { protocol: 2 });
  // Some tests stop this Redis; ioredis connects again by itself.
  client.on("error", () => undefined);
  const stop = async () => {
    client.disconnect();
    await process.stop();
  };
  return { process, client, stop };
}

async function startServer(
  name: string,
  redisPorts: { state: number; cache: number },
  options: StackOptions,
): Promise<Restartable> {
  const port = await freePort();
  const env = {
    DATABASE_URL: options.databaseUrl,
    DATABASE_POOL_SIZE: "1",
    STATE_REDIS_URL: `redis://127.0.0.1:${redisPorts.state}`,
    CACHE_REDIS_URL: `redis://127.0.0.1:${redisPorts.cache}`,
    SESSION_SECRET: sessionSecret,
    SESSION_STACK: options.sessionStack,
    ...(options.profileWrites && { PROFILE_WRITES: options.profileWrites }),
    ...(options.nearCopies && { NEAR_COPIES: options.nearCopies }),
    NODE_ENV: "production",
  };
  const entry = options.entry === undefined ? {} : { entry: options.entry };
  return Restartable.launch(() => startWeb({ name, port, env, ...entry }));
}

async function startLoadBalancer(servers: readonly Restartable[], directory: string): Promise<Part> {
  const addresses = servers.map(({ port }) => ({ host: "127.0.0.1", port }));
  return startNginx({ port: await freePort(), servers: addresses, directory });
}

async function newDirectory(): Promise<{ path: string; stop: () => Promise<void> }> {
  const scratch = join(repository, ".lockstep", "test");
  await mkdir(scratch, { recursive: true });
  const path = await mkdtemp(join(scratch, "stack-"));
  return { path, stop: () => rm(path, { recursive: true, force: true }) };
}

type Part = Awaited<ReturnType<typeof startWeb>>;

/** A process that a test may end and start again on the same port. */
class Restartable {
  readonly url: string;
  readonly port: number;
  readonly #launch: () => Promise<Part>;
  #process: Part;

  private constructor(launch: () => Promise<Part>, process: Part) {
    this.#launch = launch;
    this.#process = process;
    this.url = process.url;
    this.port = process.port;
  }

  static async launch(launch: () => Promise<Part>): Promise<Restartable> {
    return new Restartable(launch, await launch());
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async start(): Promise<void> {
    this.#process = await this.#launch();
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}

/** What was started so far; it is stopped in the opposite order, also if the next part fails to start. */
class Started {
  readonly #parts: { stop: () => Promise<void> }[] = [];

  keep<T extends { stop: () => Promise<void> }>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  async orStop<T>(start: () => Promise<T>): Promise<T> {
    try {
      return await start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) await part.stop();
  }
}
