import type { ObservedCounts } from "@lockstep/session-store";
import { freePort, type ProcessHandle, startProcess } from "../../infra/local/processes.mjs";
import type { SharedServers } from "./anomalies.ts";
import { buildProgram } from "./mutant.ts";
import { startSessionRedis } from "./session/session-redis.ts";

/** Three servers of stock express-session, each on an observed store of its own, that share one Redis. */
export interface ObservedServers extends SharedServers {
  /** What was seen at all of them together. */
  counts(): Promise<ObservedCounts>;
  stop(): Promise<void>;
}

export async function startObservedServers(store: "connect-redis" | "RedisStore"): Promise<ObservedServers> {
  const program = await buildProgram("test/harness/observe-server.ts", "session-store");
  const redis = await startSessionRedis();
  const processes: ProcessHandle[] = [];
  const servers: string[] = [];
  const stop = async () => {
    await Promise.all(processes.map((process) => process.stop()));
    await redis.stop();
  };
  try {
    for (let number = 1; number <= 3; number += 1) {
      const port = await freePort();
      processes.push(await startServer(program, { PORT: String(port), REDIS_PORT: String(redis.port), STORE: store }));
      servers.push(`http://127.0.0.1:${port}`);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { servers, server: (number) => nth(servers, number), redis: redis.client, counts: () => total(servers), stop };
}

function startServer(program: string, env: Record<string, string>): Promise<ProcessHandle> {
  return startProcess({
    name: "observe server",
    command: process.execPath,
    args: [program],
    env: { NODE_ENV: "production", ...env },
    ready: / listening on /,
  });
}

function nth(servers: readonly string[], number: number): string {
  const server = servers[number - 1];
  if (server === undefined) throw new RangeError(`There is no server ${number}.`);
  return server;
}

async function total(servers: readonly string[]): Promise<ObservedCounts> {
  const counts = await Promise.all(
    servers.map(async (server) => (await (await fetch(`${server}/api/losses`)).json()) as ObservedCounts),
  );
  return counts.reduce((sum, next) => {
    const names = Object.keys(sum) as (keyof ObservedCounts)[];
    return Object.fromEntries(names.map((name) => [name, sum[name] + next[name]])) as unknown as ObservedCounts;
  });
}
