import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startRedis } from "../../../infra/local/parts.mjs";
import { freePort } from "../../../infra/local/processes.mjs";
import { repository } from "../stack.ts";

/** A Redis for sessions, and a connection of the test's own to it. */
export interface SessionRedis {
  readonly port: number;
  readonly client: Redis;
  stop(): Promise<void>;
}

/** @param settings more settings of its own, as redis-server takes them: `--name value` */
export async function startSessionRedis(settings: readonly string[] = []): Promise<SessionRedis> {
  const scratch = join(repository, ".lockstep", "test");
  await mkdir(scratch, { recursive: true });
  const directory = await mkdtemp(join(scratch, "sessions-"));
  const port = await freePort();
  const server = await startRedis({ role: "state", port, directory, persistent: false, settings });
  const client = new Redis(port, { protocol: 2 });
  // Some tests hinder this Redis; ioredis connects again by itself.
  client.on("error", () => undefined);
  return {
    port,
    client,
    stop: async () => {
      client.disconnect();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
