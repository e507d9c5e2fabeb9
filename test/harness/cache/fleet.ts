import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { repository } from "../stack.ts";
import { type CacheOnServer, CacheServer, type OpenOptions } from "./cache-server.ts";

/** A cache Redis and as many servers as a test wants. */
export class Fleet {
  readonly redisUrl: string;
  /** Straight to Redis, for a test's own questions. */
  readonly redis: Redis;
  readonly #program: string;
  readonly #stopRedis: () => Promise<void>;
  readonly #servers: CacheServer[] = [];
  #caches = 0;

  private constructor(program: string, redisUrl: string, stopRedis: () => Promise<void>) {
    this.redisUrl = redisUrl;
    this.redis = new Redis(redisUrl, { protocol: 2 });
    this.#program = program;
    this.#stopRedis = stopRedis;
  }

  /** @param program what `buildWorker` has built */
  static async start(program: string): Promise<Fleet> {
    const scratch = join(repository, ".lockstep", "test");
    await mkdir(scratch, { recursive: true });
    const directory = await mkdtemp(join(scratch, "cache-"));
    const redis = await startRedis({ role: "cache", port: await freePort(), directory, persistent: false });
    return new Fleet(program, redis.url, async () => {
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    });
  }

  startServer(): CacheServer {
    const server = new CacheServer(`server-${this.#servers.length + 1}`, this.#program);
    this.#servers.push(server);
    return server;
  }

  startServers(count: number): CacheServer[] {
    return Array.from({ length: count }, () => this.startServer());
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
    return this.startServer().open(first.options);
  }

  /** Ends the server of that name with SIGKILL. */
  async kill(name: string | undefined): Promise<void> {
    const server = this.#servers.find((candidate) => candidate.name === name);
    if (server === undefined) throw new Error(`There is no server ${name}.`);
    await server.kill();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.kill()));
    this.redis.disconnect();
    await this.#stopRedis();
  }
}
