import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort, type ProcessHandle } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { repository } from "../stack.ts";
import { type CacheOnServer, CacheServer, type OpenOptions } from "./cache-server.ts";

/** A cache Redis and as many servers as a test wants. */
export class Fleet {
  readonly redisUrl: string;
  /** Straight to Redis, for a test's own questions. */
  readonly redis: Redis;
  readonly #launchRedis: () => Promise<ProcessHandle>;
  readonly #directory: string;
  #redisProcess: ProcessHandle;
  readonly #servers: CacheServer[] = [];
  #caches = 0;

  private constructor(port: number, directory: string, launch: () => Promise<ProcessHandle>, process: ProcessHandle) {
    this.redisUrl = `redis://127.0.0.1:${port}`;
    this.redis = new Redis(this.redisUrl, { protocol: 2 });
    // One test kills this Redis; ioredis connects again by itself.
    this.redis.on("error", () => undefined);
    this.#directory = directory;
    this.#launchRedis = launch;
    this.#redisProcess = process;
  }

  static async start(): Promise<Fleet> {
    const scratch = join(repository, ".lockstep", "test");
    await mkdir(scratch, { recursive: true });
    const directory = await mkdtemp(join(scratch, "cache-"));
    const port = await freePort();
    const launch = () => startRedis({ role: "cache", port, directory, persistent: false });
    return new Fleet(port, directory, launch, await launch());
  }

  /** Ends Redis with SIGKILL and starts it again: it is empty then. */
  async restartRedis(): Promise<void> {
    this.#redisProcess.kill("SIGKILL");
    await this.#redisProcess.exited;
    this.#redisProcess = await this.#launchRedis();
  }

  /** @param program what `buildWorker` has built */
  startServers(program: string, count: number): CacheServer[] {
    return Array.from({ length: count }, () => this.#startServer(program));
  }

  /**
   * Opens one new cache on each of the servers, and waits until what one of them has loaded is kept for the others, and
   * they listen to one another if the product does that.
   */
  async openOn(
    servers: readonly CacheServer[],
    { product, records, redisUrl = this.redisUrl }: Omit<OpenOptions, "prefix" | "redisUrl"> & { redisUrl?: string },
  ): Promise<CacheOnServer[]> {
    this.#caches += 1;
    const options = { product, records, redisUrl, prefix: `cache-${this.#caches}` };
    const caches = await Promise.all(servers.map((server) => server.open(options)));
    records.commit("warm-up");
    await eventually("what was loaded is cached", async () => {
      const before = records.loadsOf("warm-up");
      await Promise.all(caches.map((cache) => cache.get("warm-up")));
      return records.loadsOf("warm-up") === before;
    });
    await eventually("every server listens on the channels of the others", async () => {
      const channels = (await this.redis.pubsub("CHANNELS", `*${options.prefix}*`)) as string[];
      const listeners = (await this.redis.pubsub("NUMSUB", ...channels)) as (string | number)[];
      return listeners.every((value, index) => index % 2 === 0 || value === servers.length);
    });
    return caches;
  }

  /** Starts one more server, which opens the cache of the others. */
  async join([first]: readonly CacheOnServer[]): Promise<CacheOnServer> {
    if (first === undefined) throw new RangeError("There is nobody to join.");
    return this.#startServer(first.server.program).open(first.options);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.kill()));
    this.redis.disconnect();
    await this.#redisProcess.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #startServer(program: string): CacheServer {
    const server = new CacheServer(`server-${this.#servers.length + 1}`, program);
    this.#servers.push(server);
    return server;
  }
}
