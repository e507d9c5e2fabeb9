import type { Redis } from "ioredis";
import { eventually } from "../eventually.ts";
import { Monitor } from "../../../bench/monitor.ts";

/** Sees which connections have asked Redis for an id, so that a test knows, rather than hopes, that all servers did. */
export class AskedWatch {
  readonly #connections = new Set<string>();
  #monitor: Monitor | undefined;

  /** @param id one that no other id contains */
  static async start(redis: Redis, id: string): Promise<AskedWatch> {
    const watch = new AskedWatch();
    watch.#monitor = await Monitor.start(redis, ({ args, source }) => {
      // "lua": what a script calls; the script's own line has named the connection.
      if (source !== "lua" && args.some((arg) => arg.includes(id))) watch.#connections.add(source);
    });
    return watch;
  }

  async connections(count: number): Promise<void> {
    await eventually(`${count} connections have asked Redis`, () => this.#connections.size >= count);
  }

  stop(): void {
    this.#monitor?.stop();
  }
}
