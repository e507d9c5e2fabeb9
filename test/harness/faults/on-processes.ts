import { readFile } from "node:fs/promises";
import type { Node } from "../../../infra/local/redis-sets.mjs";
import type { Begun } from "./fault.ts";

/** Servers end at once, and are started again. */
export async function killed(servers: readonly Pick<Node, "process" | "start">[], signal: "SIGKILL"): Promise<Begun> {
  for (const { process } of servers) process.kill(signal);
  await Promise.all(servers.map(({ process }) => process.exited));
  return {
    end: async () => {
      await Promise.all(servers.map((server) => server.start()));
    },
    seen: () => servers.length,
  };
}

/** Processes stand still, with their connections open. */
export async function stopped(processes: readonly Pick<Node["process"], "pid" | "kill">[]): Promise<Begun> {
  for (const process of processes) process.kill("SIGSTOP");
  return {
    end: async () => {
      for (const process of processes) process.kill("SIGCONT");
    },
    seen: async () => (await Promise.all(processes.map(isStopped))).filter(Boolean).length,
  };
}

async function isStopped({ pid }: { readonly pid: number }): Promise<boolean> {
  return /^State:\s+T/m.test(await readFile(`/proc/${pid}/status`, "utf8"));
}
