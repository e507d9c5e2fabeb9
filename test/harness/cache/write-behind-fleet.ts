import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort, type ProcessHandle } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { buildProgram, type Mutation } from "../mutant.ts";
import { repository } from "../stack.ts";
import type { Barrier } from "./barrier.ts";
import { Rpc } from "./rpc.ts";
import type {
  SavedRow,
  WriteBehindSettings,
  WriteBehindTestMethods,
  WriteBehindWorkerMethods,
} from "./write-behind-worker.ts";

/** The system of record behind a write-behind collection of numbers. It enforces the deadlines that it is given. */
export class NumbersOfRecord {
  readonly rows = new Map<string, SavedRow>();
  /** Ids of which an older version was saved after a newer one. */
  readonly backwards: string[] = [];
  /** Which server has asked for each save. */
  readonly savers: string[] = [];
  isDown = false;
  /** Saves wait here before, or after, their commit. */
  before: Barrier | undefined;
  after: Barrier | undefined;
  beforeLoadReturns: Barrier | undefined;

  valueOf(id: string): number | undefined {
    return this.rows.get(id)?.value;
  }

  methodsFor(server: string): WriteBehindTestMethods {
    return {
      load: async (id) => {
        const value = this.valueOf(id);
        await this.beforeLoadReturns?.pass(server);
        return value;
      },
      save: async (rows, leftMs) => {
        const deadline = performance.now() + leftMs;
        this.savers.push(server);
        await this.before?.pass(server);
        if (this.isDown || performance.now() > deadline) throw new Error("The source has not saved this.");
        for (const row of rows) {
          if (row.version < (this.rows.get(row.id)?.version ?? 0)) this.backwards.push(row.id);
          this.rows.set(row.id, row);
        }
        await this.after?.pass(server);
      },
    };
  }
}

/** A server: a real process, which can be killed. */
export class WriteBehindServer {
  readonly name: string;
  readonly ask: Rpc<WriteBehindWorkerMethods>["ask"];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(name: string, program: string, source: NumbersOfRecord) {
    this.name = name;
    // "advanced" carries `undefined`, a deleted value, which JSON does not.
    this.#child = fork(program, { serialization: "advanced" });
    // What is sent to a process that has just been killed fails; its `exit` tells of that.
    const send = (batch: object) => void this.#child.send(batch, () => undefined);
    const worker = new Rpc<WriteBehindWorkerMethods>(send, source.methodsFor(name));
    this.#child.on("message", (batch) => {
      worker.receive(batch);
    });
    this.#exited = once(this.#child, "exit").then(() => {
      worker.end(new Error(`The server ${name} has ended.`));
    });
    this.ask = worker.ask.bind(worker);
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

/** A Redis that keeps what it is given, and servers that have one collection in it between them. */
export class WriteBehindFleet {
  readonly redis: Redis;
  readonly redisUrl: string;
  readonly #directory: string;
  readonly #process: ProcessHandle;
  readonly #servers: WriteBehindServer[] = [];
  #names = 0;

  private constructor(port: number, directory: string, process: ProcessHandle) {
    this.redisUrl = `redis://127.0.0.1:${port}`;
    this.redis = new Redis(this.redisUrl, { protocol: 2 });
    this.#directory = directory;
    this.#process = process;
  }

  /** Starts its Redis, and waits until that is old enough to give leases of that length. */
  static async start({ longestLeaseMs }: { longestLeaseMs: number }): Promise<WriteBehindFleet> {
    const scratch = join(repository, ".lockstep", "test");
    await mkdir(scratch, { recursive: true });
    const directory = await mkdtemp(join(scratch, "write-behind-"));
    const port = await freePort();
    const fleet = new WriteBehindFleet(
      port,
      directory,
      await startRedis({ role: "state", port, directory, persistent: true }),
    );
    await eventually("Redis is old enough", async () => {
      const uptimeS = Number(/uptime_in_seconds:(\d+)/.exec(await fleet.redis.info("server"))?.[1]);
      return (uptimeS - 1) * 1_000 > longestLeaseMs;
    });
    return fleet;
  }

  static build(mutation?: Mutation): Promise<string> {
    return buildProgram("test/harness/cache/write-behind-worker.ts", "cache", mutation);
  }

  /** A name that no other collection of this Redis has. */
  newName(): string {
    this.#names += 1;
    return `write-behind-${this.#names}`;
  }

  async startServers(
    program: string,
    source: NumbersOfRecord,
    count: number,
    settings: Omit<WriteBehindSettings, "redisUrl">,
  ): Promise<WriteBehindServer[]> {
    const started = Array.from(
      { length: count },
      (_, index) => new WriteBehindServer(`server-${this.#servers.length + index + 1}`, program, source),
    );
    this.#servers.push(...started);
    await Promise.all(started.map((server) => server.ask("open", { redisUrl: this.redisUrl, ...settings })));
    return started;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.kill()));
  }

  async stop(): Promise<void> {
    await this.killAll();
    this.redis.disconnect();
    await this.#process.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
