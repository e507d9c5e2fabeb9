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
  readonly sessionStack: SessionStack;
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
  const database = await startDatabase({ port: await freePort(), directory: undefined });
  await migrate({ databaseUrl: database.url });
  return database;
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const started: { stop: () => Promise<void> }[] = [];
  const stop = async () => {
    for (const part of started.splice(0).reverse()) await part.stop();
  };
  try {
    return await startParts(options, started, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startParts(
  options: StackOptions,
  started: { stop: () => Promise<void> }[],
  stop: () => Promise<void>,
): Promise<Stack> {
  const directory = await newDirectory();
  started.push({ stop: () => rm(directory, { recursive: true, force: true }) });

  const redisPort = await freePort();
  const launchRedis = () => startRedis({ role: "state", port: redisPort, directory, persistent: true });
  let redisProcess = await launchRedis();
  started.push({ stop: () => redisProcess.stop() });
  const redis = new Redis(redisProcess.url, { protocol: 2 });
  // Some tests stop this Redis; ioredis connects again by itself.
  redis.on("error", () => undefined);
  started.push({
    stop: async () => {
      redis.disconnect();
    },
  });

  const proxies = new Map<number, FaultProxy>();
  for (const number of options.proxied ?? []) {
    const proxy = await FaultProxy.start(redisPort);
    started.push(proxy);
    proxies.set(number, proxy);
  }

  const launchWeb = (number: number, port: number) =>
    startWeb({
      name: `web-${number}`,
      port,
      env: {
        DATABASE_URL: options.databaseUrl,
        DATABASE_POOL_SIZE: "1",
        STATE_REDIS_URL: `redis://127.0.0.1:${proxies.get(number)?.port ?? redisPort}`,
        SESSION_SECRET: sessionSecret,
        SESSION_STACK: options.sessionStack,
        NODE_ENV: "production",
      },
      ...(options.entry === undefined ? {} : { entry: options.entry }),
    });
  const webs: { port: number; process: Awaited<ReturnType<typeof launchWeb>> }[] = [];
  for (let number = 1; number <= (options.servers ?? 3); number += 1) {
    const port = await freePort();
    const web = { port, process: await launchWeb(number, port) };
    started.push({ stop: () => web.process.stop() });
    webs.push(web);
  }

  const nginx = await startNginx({
    port: await freePort(),
    servers: webs.map(({ port }) => ({ host: "127.0.0.1", port })),
    directory,
    assets: join(repository, "apps/web/src/public"),
  });
  started.push(nginx);

  const nth = (number: number) => {
    const web = webs[number - 1];
    if (web === undefined) throw new RangeError(`There is no server ${number}.`);
    return web;
  };
  return {
    sessionStack: options.sessionStack,
    nginx: nginx.url,
    servers: webs.map(({ process }) => process.url),
    redis,
    server: (number) => nth(number).process.url,
    proxy: (number) => {
      const proxy = proxies.get(number);
      if (proxy === undefined) throw new RangeError(`Server ${number} has no fault proxy.`);
      return proxy;
    },
    kill: async (number) => {
      nth(number).process.kill("SIGKILL");
      await nth(number).process.exited;
    },
    start: async (number) => {
      nth(number).process = await launchWeb(number, nth(number).port);
    },
    stopRedis: () => redisProcess.stop(),
    startRedis: async () => {
      redisProcess = await launchRedis();
    },
    stop,
  };
}

async function newDirectory(): Promise<string> {
  const scratch = join(repository, ".lockstep", "test");
  await mkdir(scratch, { recursive: true });
  return mkdtemp(join(scratch, "stack-"));
}
