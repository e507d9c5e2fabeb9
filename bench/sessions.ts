import { randomUUID } from "node:crypto";
import { AskedProcess } from "./asked-process.ts";
import { type BenchOptions, type Benchmark, runBenchmark } from "./benchmark.ts";
import { type Contender, type Outcome, type Surroundings, measureLine } from "./line-measurement.ts";
import type { LoadAnswers } from "./load-process.ts";
import { type SessionLine, sessionLines } from "./session-lines.ts";
import { sessionProducts } from "./session-products.ts";
import type { ServerAnswers } from "./session-server.ts";
import { sessionLegend, sessionSectionOf } from "./session-table.ts";

const benchmark: Benchmark = {
  name: "sessions",
  title: "Lockstep's sessions beside others",
  role: "state",
  pace: { rounds: 11, turnMs: 400, warmUpMs: 2_000 },
  describe: ({ rounds, turnMs, warmUpMs }) => [
    "Redis as infra/redis/state.conf has it, but nothing on disk.",
    "Each product in an Express server process of its own, new for each table.",
    "All are asked by one other process over keep-alive connections, each of which sends its next request when the last is answered.",
    "16 connections, and 4 where Redis is away; 400 sessions.",
    `${rounds} rounds, in each of them every product for ${turnMs} ms in turn, after ${warmUpMs} ms to warm up.`,
  ],
  measure: async (surroundings, tell) => {
    const load = new AskedProcess<LoadAnswers>("load-process");
    try {
      const describeProduct = ({ name, configuration }: { name: string; configuration: string }) =>
        `${name}: ${configuration}`;
      tell({ title: "The products", rows: [], remarks: sessionProducts.map(describeProduct) });
      tell(sessionLegend);
      let isComplete = true;
      for (const line of sessionLines) {
        const outcomes = await measureOnNewServers(line, load, surroundings);
        isComplete &&= outcomes.every(({ failure }) => failure === undefined);
        tell(sessionSectionOf(line, outcomes));
      }
      return isComplete;
    } finally {
      await load.stop();
    }
  },
};

/** Measures every line of the sessions' table. @returns the exit code: 1 if a product failed in any line */
export function bench(options: BenchOptions): Promise<number> {
  return runBenchmark(benchmark, options);
}

/** New ones for each line: V8 compiles a server for the work that it has seen. */
async function measureOnNewServers(
  line: SessionLine,
  load: AskedProcess<LoadAnswers>,
  surroundings: Surroundings,
): Promise<readonly Outcome[]> {
  const servers = line.products.map(({ name }) => ({
    name,
    server: new AskedProcess<ServerAnswers>("session-server", [name]),
  }));
  try {
    const contenders = servers.map(({ name, server }) => contenderOf(line, name, server, load));
    return await measureLine(line, contenders, surroundings);
  } finally {
    await Promise.all(servers.map(({ server }) => server.stop()));
  }
}

function contenderOf(
  { path, expected, sessionBytes, sessions, connections }: SessionLine,
  name: string,
  server: AskedProcess<ServerAnswers>,
  load: AskedProcess<LoadAnswers>,
): Contender {
  return {
    name,
    open: async (redisUrl) => {
      const port = await server.ask("open", { redisUrl, prefix: `bench-${randomUUID()}:`, sessionBytes });
      await load.ask("open", { name, port, path, connections, sessions, expected });
    },
    run: async (request) => {
      const before = await server.ask("cpuMs", undefined);
      const run = await load.ask("run", { ...request, name });
      return { ...run, cpuMs: (await server.ask("cpuMs", undefined)) - before };
    },
    close: async () => {
      await load.ask("close", name);
      await server.ask("close", undefined);
    },
  };
}
