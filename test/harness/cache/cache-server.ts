import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { CacheClient, CacheProduct, Source } from "../../../bench/peers/product.ts";
import type { Records } from "./records.ts";
import { Rpc } from "./rpc.ts";
import type { TestMethods, WorkerMethods } from "./worker.ts";

export interface OpenOptions {
  readonly product: CacheProduct;
  readonly redisUrl: string;
  /** Servers that open the same prefix on the same Redis have one cache between them. */
  readonly prefix: string;
  readonly records: Records;
}

/** One cache as one server has it. */
export interface CacheOnServer extends Omit<CacheClient, "isCopied"> {
  /** Whether the server would answer from its own memory now; `undefined`: it can't tell. */
  isCopied(id: string): Promise<boolean | undefined>;
  readonly server: CacheServer;
  /** How it was opened: a server that is to join opens it in the same way. */
  readonly options: OpenOptions;
}

/** The records behind the caches of several servers that are one. */
export function recordsOf([first]: readonly CacheOnServer[]): Records {
  if (first === undefined) throw new RangeError("There is no cache.");
  return first.options.records;
}

/** A server: a real process in which caches are opened, and which can be killed. */
export class CacheServer {
  readonly name: string;
  readonly program: string;
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #worker: Rpc<WorkerMethods>;
  readonly #sources = new Map<string, Source>();

  /** @param program what `buildWorker` has built */
  constructor(name: string, program: string) {
    this.name = name;
    this.program = program;
    // "advanced" carries `undefined`, a missing value, which JSON does not.
    this.#child = fork(program, { serialization: "advanced", execArgv: ["--expose-gc"] });
    // What is sent to a process that has just been killed fails; its `exit` tells of that.
    const send = (batch: object) => void this.#child.send(batch, () => undefined);
    this.#worker = new Rpc<WorkerMethods>(send, this.#testMethods());
    this.#child.on("message", (batch) => {
      this.#worker.receive(batch);
    });
    this.exited = once(this.#child, "exit").then(() => {
      this.#worker.end(new Error(`The server ${name} has ended.`));
    });
  }

  async open(options: OpenOptions): Promise<CacheOnServer> {
    const { product, redisUrl, prefix, records } = options;
    this.#sources.set(prefix, records.sourceOf(this.name));
    await this.#worker.ask("open", prefix, product.name, redisUrl);
    return {
      server: this,
      options,
      get: (id) => this.#worker.ask("get", prefix, id),
      getMany: (ids) => this.#worker.ask("getMany", prefix, ids),
      update: (id, value) => this.#worker.ask("update", prefix, id, value),
      invalidate: (id) => this.#worker.ask("invalidate", prefix, id),
      isCopied: (id) => this.#worker.ask("isCopied", prefix, id),
      close: () => this.#worker.ask("close", prefix),
    };
  }

  /** Has the process kill itself with SIGKILL at the boundary of that number, counted from 1 and from now. */
  armBoundary(fatal: number): Promise<void> {
    return this.#worker.ask("armBoundary", fatal);
  }

  /** The boundaries passed since it was armed. */
  passedBoundaries(): Promise<readonly string[]> {
    return this.#worker.ask("passedBoundaries");
  }

  /** After a garbage collection. */
  memory(): Promise<{ heapBytes: number; residentBytes: number }> {
    return this.#worker.ask("memory");
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  #testMethods(): TestMethods {
    const source = (cache: string) => {
      const found = this.#sources.get(cache);
      if (found === undefined) throw new Error(`${this.name} asked for records of ${cache}, which it has not opened.`);
      return found;
    };
    return {
      load: async (cache, id) => source(cache).load(id),
      loadMany: async (cache, ids) => source(cache).loadMany(ids),
      save: async (cache, id, value) => source(cache).save(id, value),
    };
  }
}
