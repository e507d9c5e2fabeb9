import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startRedis } from "../infra/local/parts.mjs";
import { freePort } from "../infra/local/processes.mjs";
import type { Pace, Surroundings } from "./line-measurement.ts";
import { describeMachine } from "./machine.ts";
import { RedisObserver } from "./redis-observer.ts";
import { type Section, toMarkdown, toText } from "./report.ts";

export interface BenchOptions {
  /** The report goes to `.lockstep/report/bench-<name>.md` below it; if quick, to `bench-<name>-quick.md`. */
  readonly repository: string;
  readonly quick: boolean;
  /** Aborted, it ends after the turn under way, and leaves nothing running. */
  readonly signal: AbortSignal;
}

/** What a benchmark measures, and on which Redis. */
export interface Benchmark {
  readonly name: string;
  readonly title: string;
  readonly role: "state" | "cache";
  readonly pace: Pace;
  /** Redis' configuration, and how work is done, in words. */
  readonly describe: (pace: Pace) => readonly string[];
  /** @returns whether every product did all of its work */
  readonly measure: (surroundings: Surroundings, tell: (section: Section) => void) => Promise<boolean>;
}

const quickPace: Pace = { rounds: 1, turnMs: 5, warmUpMs: 0 };

/**
 * Measures on a Redis of its own, and writes what it is told to the terminal and into a report.
 *
 * @returns the exit code: 1 if a product failed in any line
 */
export async function runBenchmark(benchmark: Benchmark, options: BenchOptions): Promise<number> {
  const { name, role } = benchmark;
  const { repository, quick } = options;
  const scratch = join(repository, ".lockstep");
  await mkdir(join(scratch, "report"), { recursive: true });
  const directory = await mkdtemp(join(scratch, "bench-redis-"));
  try {
    const redis = await startRedis({ role, port: await freePort(), directory, persistent: false });
    try {
      const reportFile = join(scratch, "report", `bench-${name}${quick ? "-quick" : ""}.md`);
      return await measureAndReport(benchmark, redis, options, reportFile);
    } finally {
      await redis.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function measureAndReport(
  { title, pace: usualPace, describe, measure }: Benchmark,
  { url, port: redisPort }: { url: string; port: number },
  { quick, signal }: BenchOptions,
  reportFile: string,
): Promise<number> {
  const pace = quick ? quickPace : usualPace;
  const observer = new RedisObserver(url);
  const report: Section[] = [];
  const tell = (section: Section) => {
    report.push(section);
    console.log(`${toText(section)}\n`);
  };
  try {
    const remarks = [...describeMachine(await observer.version()), ...describe(pace)];
    tell({ title: "What was measured", rows: [], remarks });
    const isComplete = await measure({ redisPort, observer, pace, signal }, tell);
    await writeFile(reportFile, [`# ${title}`, ...report.map(toMarkdown), ""].join("\n\n"));
    return isComplete ? 0 : 1;
  } finally {
    observer.stop();
  }
}
