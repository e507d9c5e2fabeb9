import type { Redis } from "ioredis";
import { eventually } from "../eventually.ts";

/** Sees which connections have asked Redis for an id, so that a test knows, rather than hopes, that all servers did. */
export class AskedWatch {
  readonly #monitor: Redis;
  readonly #connections = new Set<string>();

  private constructor(monitor: Redis, id: string) {
    this.#monitor = monitor;
    monitor.on("monitor", (_time: string, args: string[], connection: string) => {
      // "lua": what a script calls; the script's own line has named the connection.
      if (connection !== "lua" && args.some((arg) => arg.includes(id))) this.#connections.add(connection);
    });
  }

  /** @param id one that no other id contains */
  static async start(redis: Redis, id: string): Promise<AskedWatch> {
    return new AskedWatch(await redis.monitor(), id);
  }

  async connections(count: number): Promise<void> {
    await eventually(`${count} connections have asked Redis`, () => this.#connections.size >= count);
  }

  stop(): void {
    this.#monitor.disconnect();
  }
}
