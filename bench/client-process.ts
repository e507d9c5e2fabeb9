// One product in a process of its own, so that neither its memory nor its timers nor what V8 learned of it is anybody else's.
import { isDeepStrictEqual } from "node:util";
import { setTimeout as delay } from "node:timers/promises";
import { answerParent } from "./asked-process.ts";
import type { CacheClient } from "./peers/product.ts";
import { products } from "./products.ts";
import type { Run, RunRequest } from "./rounds.ts";
import { valueOf } from "./values.ts";
import { CountingSource, type Work, type WorkName, works } from "./works.ts";

export interface OpenRequest {
  readonly redisUrl: string;
  readonly prefix: string;
  readonly work: WorkName;
  readonly valueBytes: number;
  readonly ids: number;
}

/** Longer than any product keeps from caching after Redis has started. */
const fillTimeoutMs = 15_000;
const fillPollMs = 50;

interface Opened {
  readonly client: CacheClient;
  readonly source: CountingSource;
  readonly work: Work;
  readonly ids: readonly string[];
}

let opened: Opened | undefined;
let calls = 0;

const answers = {
  open: async (request: OpenRequest): Promise<void> => {
    opened = await open(request);
    await fill(opened);
  },
  run: async (request: RunRequest): Promise<Run> => {
    if (opened === undefined) throw new Error("Nothing is open.");
    return run(opened, request);
  },
  close: async (): Promise<void> => {
    await opened?.client.close();
    opened = undefined;
  },
};

export type ClientAnswers = typeof answers;

answerParent(answers);

async function open({ redisUrl, prefix, work: name, valueBytes, ids: count }: OpenRequest): Promise<Opened> {
  const product = products.find((candidate) => candidate.name === process.argv[2]);
  if (product === undefined) throw new Error(`There is no product named ${process.argv[2]}.`);
  const source = new CountingSource(valueOf(valueBytes));
  const ids = Array.from({ length: count }, (_, index) => `id-${String(index).padStart(5, "0")}`);
  return { client: await product.open({ redisUrl, prefix, source }), source, work: works[name], ids };
}

/** Writes everything, then reads until all of it comes from the cache, and checks that it is what the source has. */
async function fill({ client, source, ids }: Opened): Promise<void> {
  for (const id of ids) await client.update(id, source.valueOf(id));
  const start = performance.now();
  for (;;) {
    const before = source.loads;
    for (const id of ids) {
      if (!isDeepStrictEqual({ ...(await client.get(id)) }, source.valueOf(id))) {
        throw new Error("A read did not return what the source has.");
      }
    }
    if (source.loads === before) return;
    if (performance.now() - start > fillTimeoutMs) {
      throw new Error(`Reads still asked the source after ${fillTimeoutMs / 1000} s.`);
    }
    await delay(fillPollMs);
  }
}

async function run({ client, source, work, ids }: Opened, { durationMs, maxCalls }: RunRequest): Promise<Run> {
  const latenciesMs: number[] = [];
  const loadsBefore = source.loads;
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  let now = start;
  while (now - start < durationMs && latenciesMs.length < maxCalls) {
    await work.call(client, source, ids, calls);
    calls += 1;
    const end = performance.now();
    latenciesMs.push(end - now);
    now = end;
  }
  const cpu = process.cpuUsage(cpuBefore);
  const loads = source.loads - loadsBefore;
  if (work.hits && loads > 0) throw new Error(`${loads} of the reads that should be hits asked the source.`);
  return {
    operations: latenciesMs.length * work.operationsPerCall,
    elapsedMs: now - start,
    cpuMs: (cpu.user + cpu.system) / 1000,
    loads,
    latenciesMs: Float64Array.from(work.timed ? latenciesMs : []),
  };
}
