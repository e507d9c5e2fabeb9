import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort, type ProcessHandle, startProcess } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { FaultProxy } from "../fault-proxy.ts";
import { repository } from "../stack.ts";
import { ServerProcess } from "./server-process.ts";
import { cacheName, type ServerSettings } from "./settings.ts";

export interface DeploymentOptions extends Pick<
  ServerSettings,
  "coherence" | "clients" | "operationsPerSecond" | "keys" | "writeShare"
> {
  readonly servers: number;
  /** What `buildServer` and `buildSource` have built. */
  readonly programs: { readonly server: string; readonly source: string };
}

/** One server of a deployment, whichever process it is just now. */
export interface Server {
  readonly name: string;
  /** Between it and Redis. */
  readonly proxy: FaultProxy;
  process: ServerProcess;
}

/** What a process has noted of a history, and what reports call the process. */
export interface HistoryOf {
  readonly path: string;
  readonly by: string;
}

/** A Redis, a source, and several servers that read and write through their caches, each a real process. */
export class Deployment {
  readonly servers: Server[] = [];
  readonly histories: HistoryOf[] = [];
  readonly sourceHistory: string;
  /** Which operations failed, and with which code → how often; those of killed processes are not known. */
  readonly failures = new Map<string, number>();
  /** Straight to Redis. */
  readonly redis: Redis;
  readonly keys: number;
  readonly coherence: DeploymentOptions["coherence"];
  readonly #options: DeploymentOptions;
  readonly #directory: string;
  readonly #redisPort: number;
  readonly #source: ProcessHandle;
  readonly #sourcePort: number;
  #redisProcess: ProcessHandle;

  private constructor(
    options: DeploymentOptions,
    parts: { directory: string; redis: ProcessHandle & { port: number }; source: ProcessHandle & { port: number } },
  ) {
    this.#options = options;
    this.keys = options.keys;
    this.coherence = options.coherence;
    this.#directory = parts.directory;
    this.#redisProcess = parts.redis;
    this.#redisPort = parts.redis.port;
    this.#source = parts.source;
    this.#sourcePort = parts.source.port;
    this.sourceHistory = sourceHistoryIn(parts.directory);
    this.redis = new Redis(this.#redisPort, "127.0.0.1", { protocol: 2 });
    // A fault kills this Redis; ioredis connects again by itself.
    this.redis.on("error", () => undefined);
  }

  static async start(options: DeploymentOptions): Promise<Deployment> {
    const scratch = join(repository, ".lockstep", "test");
    await mkdir(scratch, { recursive: true });
    const directory = await mkdtemp(join(scratch, "history-"));
    const redis = await launchRedis(await freePort(), directory);
    const port = await freePort();
    const source = await startProcess({
      name: "source",
      command: process.execPath,
      args: [options.programs.source, `${port}`, sourceHistoryIn(directory)],
      ready: /source listening/,
    });
    const deployment = new Deployment(options, { directory, redis, source: { ...source, port } });
    for (let number = 1; number <= options.servers; number += 1) await deployment.#add(`server-${number}`);
    return deployment;
  }

  /** Starts a process for a server whose process has ended. */
  restart(server: Server): void {
    server.process = this.#launch(server);
  }

  /** Ends a server's process when what it does is done. */
  async finish(server: Server): Promise<void> {
    for (const [failure, count] of await server.process.finish()) {
      this.failures.set(failure, (this.failures.get(failure) ?? 0) + count);
    }
  }

  /** Ends Redis with SIGKILL and starts it again: it is empty then. */
  async restartRedis(): Promise<void> {
    this.#redisProcess.kill("SIGKILL");
    await this.#redisProcess.exited;
    this.#redisProcess = await launchRedis(this.#redisPort, this.#directory);
  }

  /** Waits until one of the servers has a write under way that will be pending for a while. */
  async whenWriting(): Promise<void> {
    let isWriting = false;
    const reported = Promise.any(this.servers.map(({ process }) => process.whenWriting())).then(
      () => (isWriting = true),
    );
    await Promise.race([reported, eventually("a server writes", () => isWriting)]);
  }

  /** Lets all servers end, and the source. What they have noted stays until {@link remove}. */
  async finishAll(): Promise<void> {
    for (const server of this.servers) await this.finish(server);
    await this.#source.stop();
  }

  /** Ends whatever runs, and removes what was noted. */
  async remove(): Promise<void> {
    await Promise.all(this.servers.map(({ process }) => process.kill()));
    await Promise.all(this.servers.map(({ proxy }) => proxy.stop()));
    await this.#source.stop();
    this.redis.disconnect();
    await this.#redisProcess.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #add(name: string): Promise<void> {
    const proxy = await FaultProxy.start(this.#redisPort);
    this.servers.push({ name, proxy, process: this.#launch({ name, proxy }) });
  }

  #launch({ name, proxy }: Pick<Server, "name" | "proxy">): ServerProcess {
    const { coherence, clients, operationsPerSecond, keys, writeShare } = this.#options;
    const number = this.histories.length;
    const historyPath = join(this.#directory, `${number}.history`);
    this.histories.push({ path: historyPath, by: `${name} (process ${number})` });
    return new ServerProcess(this.#options.programs.server, {
      ...{ number, name, historyPath, coherence, clients, operationsPerSecond, keys, writeShare },
      redisUrl: `redis://127.0.0.1:${proxy.port}`,
      sourcePort: this.#sourcePort,
    });
  }
}

function launchRedis(port: number, directory: string) {
  return startRedis({ role: "cache", port, directory, persistent: false });
}

function sourceHistoryIn(directory: string): string {
  return join(directory, "source.history");
}

/** The keys of all entries in Redis. */
export function entryKeys(keys: number, collection: string): string[] {
  return Array.from({ length: keys }, (_, key) => `${cacheName}:2:{${collection}:${key}}`);
}
