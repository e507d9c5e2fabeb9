import { randomUUID } from "node:crypto";
import { AskedProcess } from "./asked-process.ts";
import { type BenchOptions, type Benchmark, runBenchmark } from "./benchmark.ts";
import { type Line, lines } from "./cache-lines.ts";
import { legend, sectionOf } from "./cache-table.ts";
import type { ClientAnswers } from "./client-process.ts";
import { type Contender, measureLine } from "./line-measurement.ts";
import type { CacheProduct } from "./peers/product.ts";
import { products } from "./products.ts";

const benchmark: Benchmark = {
  name: "cache",
  title: "Lockstep's cache beside others",
  role: "cache",
  pace: { rounds: 7, turnMs: 200, warmUpMs: 200 },
  describe: ({ rounds, turnMs, warmUpMs }) => [
    "Redis as infra/redis/cache.conf has it: 128 MB, volatile-lfu, nothing on disk.",
    `Each product in a process of its own; ${rounds} rounds, in each of them every product for ${turnMs} ms in turn, after ${warmUpMs} ms to warm up.`,
  ],
  measure: async (surroundings, tell) => {
    const processes = new Map(
      products.map(({ name }) => [name, new AskedProcess<ClientAnswers>("client-process", [name])]),
    );
    try {
      tell({ title: "The products", rows: [], remarks: products.map(describeProduct) });
      tell(legend);
      let isComplete = true;
      for (const line of lines) {
        const contenders = line.products.map(({ name }) => contenderOf(line, name, processes.get(name)));
        const outcomes = await measureLine(line, contenders, surroundings);
        isComplete &&= outcomes.every(({ failure }) => failure === undefined);
        tell(sectionOf(line, outcomes));
      }
      return isComplete;
    } finally {
      await Promise.all([...processes.values()].map((process) => process.stop()));
    }
  },
};

/** Measures every line of the cache's table. @returns the exit code: 1 if a product failed in any line */
export function bench(options: BenchOptions): Promise<number> {
  return runBenchmark(benchmark, options);
}

function contenderOf(line: Line, name: string, process: AskedProcess<ClientAnswers> | undefined): Contender {
  if (process === undefined) throw new RangeError(`${name} has no process.`);
  const { work, valueBytes, ids } = line;
  return {
    name,
    open: (redisUrl) => process.ask("open", { redisUrl, prefix: `bench-${randomUUID()}`, work, valueBytes, ids }),
    run: (request) => process.ask("run", request),
    close: () => process.ask("close", undefined),
  };
}

function describeProduct({ name, version, configuration }: CacheProduct): string {
  return `${name} ${version}: ${configuration}`;
}
