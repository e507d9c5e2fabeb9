import { createHash } from "node:crypto";
import { Cluster, type Redis } from "ioredis";
import type { Client } from "./client.ts";
import { eventually } from "./eventually.ts";
import { Monitor } from "../../bench/monitor.ts";

/**
 * Sees every command that a Redis executes, so that a test knows, rather than hopes, that a session was loaded. Redis
 * executes one command at a time: once a load was seen, whatever is written later was not in it.
 */
export class CommandWatch {
  readonly #seen: (readonly string[])[] = [];
  #monitors: readonly Monitor[] = [];

  static async start(redis: Redis | Cluster): Promise<CommandWatch> {
    const watch = new CommandWatch();
    const watchNode = (node: Redis) =>
      Monitor.start(node, ({ args, source }) => {
        // What a script calls is part of the script's own line.
        if (source !== "lua") watch.#seen.push(args);
      });
    watch.#monitors = await Promise.all(primariesOf(redis).map(watchNode));
    return watch;
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
    for (const monitor of this.#monitors) monitor.stop();
  }
}

/** The servers that execute commands: of a Cluster, all that have slots. */
export function primariesOf(redis: Redis | Cluster): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}

/** The keys under which the three stacks keep the session of `client`: connect-redis' and the hashed one. */
function sessionKeys(client: Client): readonly string[] {
  const id = client.sessionId;
  if (id === undefined) throw new Error("This client has no session.");
  return [`sess:${id}`, `sess:h:${createHash("sha256").update(id).digest("base64url")}`];
}
