import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Client } from "./client.ts";
import { eventually } from "./eventually.ts";

/**
 * Sees every command that a Redis executes, so that a test knows, rather than hopes, that a session was loaded. Redis
 * executes one command at a time: once a load was seen, whatever is written later was not in it.
 */
export class CommandWatch {
  readonly #monitor: Redis;
  readonly #seen: string[][] = [];

  private constructor(monitor: Redis) {
    this.#monitor = monitor;
    monitor.on("monitor", (_time: string, args: string[], source: string) => {
      // What a script calls is part of the script's own line.
      if (source !== "lua") this.#seen.push(args);
    });
  }

  static async start(redis: Redis): Promise<CommandWatch> {
    return new CommandWatch(await redis.monitor());
  }

  /** Runs `act`, then waits until commands were executed that name the session of `client` so often: one may load it twice. */
  async whileLoading(client: Client, count: number, act: () => void): Promise<void> {
    this.#seen.length = 0;
    const keys = sessionKeys(client);
    act();
    await eventually(`Redis was asked ${count} times for the session`, () => {
      return this.#seen.flat().filter((arg) => keys.includes(arg)).length >= count;
    });
  }

  stop(): void {
    this.#monitor.disconnect();
  }
}

/** The keys under which the three stacks keep the session of `client`: connect-redis' and the hashed one. */
function sessionKeys(client: Client): readonly string[] {
  const id = client.sessionId;
  if (id === undefined) throw new Error("This client has no session.");
  return [`sess:${id}`, `sess:h:${createHash("sha256").update(id).digest("base64url")}`];
}
