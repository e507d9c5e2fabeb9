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

export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** What the servers of each stack sign session cookies with. */
export const sessionSecret = "the-secret-of-a-throwaway-stack";

export interface StackOptions {
  readonly sessionStack: SessionStack;
  readonly databaseUrl: string;
  /** How many web servers; 3 unless told. */
  readonly servers?: number;
  /** Which servers, counted from 1, reach their Redis through a fault proxy. */
  readonly proxied?: readonly number[];
  /** The program of the web servers; the built app unless told. */
  readonly entry?: string;
}

/** Web servers, nginx in front and a state Redis of their own: real processes on free ports. Servers count from 1. */
export interface Stack {
  /** The address of nginx. */
  readonly nginx: string;
  /** The addresses of the servers, in order. */
  readonly servers: readonly string[];
  /** The state Redis, past every fault proxy. */
  readonly redis: Redis;
  /** The address of one server. */
  server(number: number): string;
  /** The fault proxy between a server and its Redis. */
  proxy(number: number): FaultProxy;
  /** Ends a server with SIGKILL. */
  kill(number: number): Promise<void>;
  /** Starts a killed server again, where it was. */
  start(number: number): Promise<void>;
  stopRedis(): Promise<void>;
  /** Starts the stopped Redis again, with the data that it wrote to disk. */
  startRedis(): Promise<void>;
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
    const proxies = new Map<number, FaultProxy>();
    for (const number of options.proxied ?? []) {
      proxies.set(number, started.keep(await FaultProxy.start(redis.process.port)));
    }
    const servers: Restartable[] = [];
    for (let number = 1; number <= (options.servers ?? 3); number += 1) {
      const redisPort = proxies.get(number)?.port ?? redis.process.port;
      servers.push(started.keep(await startServer(`web-${number}`, redisPort, options)));
    }
    const nginx = started.keep(await startLoadBalancer(servers, directory.path));
    return {
      nginx: nginx.url,
      servers: servers.map(({ url }) => url),
      redis: redis.client,
      server: (number) => nth(servers, number).url,
      proxy: (number) => {
        const proxy = proxies.get(number);
        if (proxy === undefined) throw new RangeError(`Server ${number} has no fault proxy.`);
        return proxy;
      },
      kill: (number) => nth(servers, number).kill(),
      start: (number) => nth(servers, number).start(),
      stopRedis: () => redis.process.stop(),
      startRedis: () => redis.process.start(),
      stop: () => started.stop(),
    };
  });
}

function nth(servers: readonly Restartable[], number: number): Restartable {
  const server = servers[number - 1];
  if (server === undefined) throw new RangeError(`There is no server ${number}.`);
  return server;
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

async function startServer(name: string, redisPort: number, options: StackOptions): Promise<Restartable> {
  const port = await freePort();
  const env = {
    DATABASE_URL: options.databaseUrl,
    DATABASE_POOL_SIZE: "1",
    STATE_REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    SESSION_SECRET: sessionSecret,
    SESSION_STACK: options.sessionStack,
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
