import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startRedis } from "../infra/local/parts.mjs";
import { freePort } from "../infra/local/processes.mjs";
import { lines } from "./cache-lines.ts";
import { legend, sectionOf } from "./cache-table.ts";
import { measureLine, type Pace } from "./line-measurement.ts";
import { describeMachine } from "./machine.ts";
import type { CacheProduct } from "./peers/product.ts";
import { ProductProcess } from "./product-process.ts";
import { products } from "./products.ts";
import { RedisObserver } from "./redis-observer.ts";
import { type Section, toMarkdown, toText } from "./report.ts";

export interface BenchOptions {
  /** The report goes to `.lockstep/report/bench-cache.md` below it; if quick, to `bench-cache-quick.md`. */
  readonly repository: string;
  readonly quick: boolean;
  /** Aborted, it ends after the turn under way, and leaves nothing running. */
  readonly signal: AbortSignal;
}

const usualPace: Pace = { rounds: 7, turnMs: 200, warmUpMs: 200 };
const quickPace: Pace = { rounds: 1, turnMs: 5, warmUpMs: 0 };

/**
 * Measures every line of the table on a Redis of its own, and writes the table to the terminal and into a report.
 *
 * @returns the exit code: 1 if a product failed in any line
 */
export async function benchCache(options: BenchOptions): Promise<number> {
  const scratch = join(options.repository, ".lockstep");
  await mkdir(join(scratch, "report"), { recursive: true });
  const directory = await mkdtemp(join(scratch, "bench-redis-"));
  try {
    const redis = await startRedis({ role: "cache", port: await freePort(), directory, persistent: false });
    try {
      return await measureAll(
        redis,
        options,
        join(scratch, "report", options.quick ? "bench-cache-quick.md" : "bench-cache.md"),
      );
    } finally {
      await redis.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function measureAll(
  { url, port: redisPort }: { url: string; port: number },
  { quick, signal }: BenchOptions,
  reportFile: string,
): Promise<number> {
  const pace = quick ? quickPace : usualPace;
  const observer = new RedisObserver(url);
  const processes = new Map(products.map(({ name }) => [name, new ProductProcess(name)]));
  const report: Section[] = [];
  const tell = (section: Section) => {
    report.push(section);
    console.log(`${toText(section)}\n`);
  };
  try {
    tell({ title: "What was measured", rows: [], remarks: describeMeasurement(await observer.version(), pace) });
    tell({ title: "The products", rows: [], remarks: products.map(describeProduct) });
    tell(legend);
    let failed = false;
    for (const line of lines) {
      const outcomes = await measureLine(line, { redisPort, observer, processes, pace, signal });
      failed ||= outcomes.some(({ failure }) => failure !== undefined);
      tell(sectionOf(line, outcomes));
    }
    await writeFile(reportFile, ["# Lockstep's cache beside others", ...report.map(toMarkdown), ""].join("\n\n"));
    return failed ? 1 : 0;
  } finally {
    await Promise.all([...processes.values()].map((process) => process.stop()));
    observer.stop();
  }
}

function describeMeasurement(redisVersion: string, { rounds, turnMs, warmUpMs }: Pace): string[] {
  return [
    ...describeMachine(redisVersion),
    "Redis as infra/redis/cache.conf has it: 128 MB, volatile-lfu, nothing on disk.",
    `Each product in a process of its own; ${rounds} rounds, in each of them every product for ${turnMs} ms in turn, after ${warmUpMs} ms to warm up.`,
  ];
}

function describeProduct({ name, version, configuration }: CacheProduct): string {
  return `${name} ${version}: ${configuration}`;
}
