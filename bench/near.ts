import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { AskedProcess } from "./asked-process.ts";
import { type BenchOptions, type Benchmark, runBenchmark } from "./benchmark.ts";
import { DelayProxy } from "./delay-proxy.ts";
import type { Pace, Surroundings } from "./line-measurement.ts";
import type { FloorAnswers } from "./near-floor-process.ts";
import type { NearAnswers } from "./near-process.ts";
import type { Section } from "./report.ts";

const readsPerWrite = [100, 20, 1] as const;

/** What is measured: little of it, where it is only to be seen that it runs. */
function scopeOf({ rounds }: Pace) {
  return rounds === 1
    ? {
        groups: [1, 3],
        pausesMs: [50],
        deadMs: [0],
        delaysMs: [0],
        writes: 5,
        pauses: 1,
        hits: { reads: 1_000, rounds: 1 },
      }
    : {
        groups: [1, 3, 8, 64],
        pausesMs: [50, 200, 1_000],
        deadMs: [0, 2_500],
        delaysMs: [0, 0.5],
        writes: 1_000,
        pauses: 3,
        hits: { reads: 20_000, rounds: 100 },
      };
}

/** The members of a large group share so many processes, beside that of the writer. */
const otherProcesses = 2;

const benchmark: Benchmark = {
  name: "near",
  title: "What near copies cost, and what they save",
  role: "cache",
  pace: { rounds: 5, turnMs: 700, warmUpMs: 200 },
  describe: () => [
    "Redis as infra/redis/cache.conf has it. Leases of a second. Values of 450 B, from a source that answers at once.",
    `The writer is a process of its own; the other members of a group share ${otherProcesses}.`,
    "What sessions take stands in `npm run bench -- sessions`.",
  ],
  measure: async (surroundings, tell) => {
    tell(await hits(surroundings));
    tell(await writes(surroundings));
    tell(await pausedMember(surroundings));
    tell(await deadMember(surroundings));
    const { section, commands } = await mixes(surroundings);
    tell(section);
    tell(commands);
    return true;
  },
};

/** Measures groups of near copies. @returns the exit code */
export function bench(options: BenchOptions): Promise<number> {
  return runBenchmark(benchmark, options);
}

/** A group whose first process has the writer alone. */
class Group {
  readonly processes: readonly AskedProcess<NearAnswers>[];
  readonly #ids: number;
  readonly #from: "near" | "shared";

  private constructor(processes: readonly AskedProcess<NearAnswers>[], ids: number, from: "near" | "shared") {
    this.processes = processes;
    this.#ids = ids;
    this.#from = from;
  }

  static async open(size: number, redisPort: number, { isNear = true, ids = 1, alone = false } = {}): Promise<Group> {
    const others = alone ? size - 1 : Math.min(size - 1, otherProcesses);
    const shares = sharesOf(size, others);
    const processes = shares.map(() => new AskedProcess<NearAnswers>("near-process"));
    const group = new Group(processes, ids, isNear ? "near" : "shared");
    const name = `bench-${randomUUID()}`;
    const redisUrl = `redis://127.0.0.1:${redisPort}`;
    for (const [index, process] of processes.entries()) {
      await process.ask("open", { redisUrl, name, members: shares[index] ?? 0, isNear });
    }
    await group.writer.ask("write", { writes: 1, rests: false });
    await group.hold();
    return group;
  }

  get writer(): AskedProcess<NearAnswers> {
    const [first] = this.processes;
    if (first === undefined) throw new RangeError("A group has a writer.");
    return first;
  }

  async hold(): Promise<void> {
    for (const process of this.processes) await process.ask("hold", { ids: this.#ids, from: this.#from });
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.stop()));
  }
}

/** The writer is alone; the others are spread over so many processes. */
function sharesOf(size: number, others: number): number[] {
  const members = size - 1;
  const share = (_: unknown, index: number) => Math.floor(members / others) + (index < members % others ? 1 : 0);
  return [1, ...Array.from({ length: others }, share)];
}

/** Of a thousand ids, in turns with a Map. */
async function hits({ redisPort, pace }: Surroundings): Promise<Section> {
  const ids = 1_000;
  const group = await Group.open(1, redisPort, { ids });
  try {
    const { near, plain, clocks } = await group.writer.ask("hits", { ids, ...scopeOf(pace).hits });
    const row = (name: string, figures: Float64Array) => [
      name,
      ...[0.1, 0.5, 0.9].map((part) => quantile(figures, part).toFixed(0)),
    ];
    return {
      title: "A near hit",
      rows: [
        ["what", "10th percentile of rounds, ns", "median, ns", "90th, ns"],
        row("a read of a strict collection's copies", near),
        row("a read of a Map, in an async function", plain),
        row("a look at the two clocks that each hit asks (C1)", clocks),
      ],
      remarks: [],
    };
  } finally {
    await group.close();
  }
}

async function writes({ redisPort, pace, signal }: Surroundings): Promise<Section> {
  const { groups, writes: count } = scopeOf(pace);
  const rows = [["group", "× no group", "× bare", "median ms", "p99 ms", "p99.9 ms", "until all dropped ms", "p99 ms"]];
  const group = await Group.open(1, redisPort, { isNear: false });
  const { took: alone } = await timed(group, count);
  const rowOf = (
    name: string,
    took: Float64Array,
    { bare, revoked }: { bare?: Float64Array; revoked?: Float64Array },
  ) => {
    const ratio = (other: Float64Array) => (quantile(took, 0.5) / quantile(other, 0.5)).toFixed(2);
    const ofRevocation = revoked ? [0.5, 0.99].map((part) => ms(quantile(revoked, part))) : ["–", "–"];
    const ofWrite = [0.5, 0.99, 0.999].map((part) => ms(quantile(took, part)));
    return [name, ratio(alone), bare ? ratio(bare) : "–", ...ofWrite, ...ofRevocation];
  };
  rows.push(rowOf("no near copies", alone, {}));
  for (const size of groups) {
    signal.throwIfAborted();
    const bare = await bareWrites(size, redisPort, count);
    const { took, revoked } = await timed(await Group.open(size, redisPort), count);
    const name = size === 1 ? "1 member" : `${size} members`;
    rows.push(rowOf(name, took, { bare, revoked }), rowOf(`${name}, bare`, bare, { bare }));
  }
  return {
    title: "A strict write, each followed by a rest as long",
    rows,
    remarks: [
      "until all dropped: what the revocation takes of a write, from its sending to the last answer.",
      "bare: the exchanges that a strict write can't do without, and nothing else: SET of a mark, SPUBLISH to the others, an SPUBLISH from each, SET.",
    ],
  };
}

/** What a write takes once the code is warm. The group ends. */
async function timed(group: Group, count: number): Promise<{ took: Float64Array; revoked: Float64Array }> {
  try {
    await group.writer.ask("write", { writes: count, rests: false });
    return await group.writer.ask("write", { writes: count, rests: true });
  } finally {
    await group.close();
  }
}

/** The same, between processes that do only what no strict write can do without. */
async function bareWrites(size: number, redisPort: number, count: number): Promise<Float64Array> {
  const shares = sharesOf(size, Math.min(size - 1, otherProcesses));
  const processes = shares.map(() => new AskedProcess<FloorAnswers>("near-floor-process"));
  try {
    const request = { redisUrl: `redis://127.0.0.1:${redisPort}`, name: `{bare-${randomUUID()}}` };
    for (const [index, process] of processes.entries()) {
      await process.ask("open", { ...request, members: shares[index] ?? 0, asks: index === 0 });
    }
    const [writer] = processes;
    if (writer === undefined) throw new RangeError("A group has a writer.");
    const others = size - 1;
    await writer.ask("write", { others, writes: count, rests: false });
    return await writer.ask("write", { others, writes: count, rests: true });
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
  }
}

async function pausedMember({ redisPort, pace, signal }: Surroundings): Promise<Section> {
  const rows = [["one of three members is stopped for", "writes", "median ms", "longest ms"]];
  const { pausesMs, pauses } = scopeOf(pace);
  for (const pauseMs of pausesMs) {
    signal.throwIfAborted();
    const group = await Group.open(3, redisPort, { alone: true });
    try {
      const took: number[] = [];
      for (let round = 0; round < pauses; round += 1) {
        const writing = group.writer.ask("writeFor", { durationMs: pauseMs + 400 });
        await delay(100);
        group.processes[1]?.kill("SIGSTOP");
        await delay(pauseMs);
        group.processes[1]?.kill("SIGCONT");
        took.push(...(await writing));
      }
      const all = Float64Array.from(took);
      rows.push([`${pauseMs} ms`, String(all.length), ms(quantile(all, 0.5)), ms(Math.max(...all))]);
    } finally {
      await group.close();
    }
  }
  return { title: "A member that is paused", rows, remarks: [] };
}

async function deadMember({ redisPort, pace, signal }: Surroundings): Promise<Section> {
  const rows = [["after one of three members was killed", "ms"]];
  const write = async (group: Group) =>
    ms((await group.writer.ask("write", { writes: 1, rests: false })).took[0] ?? NaN);
  for (const waitMs of scopeOf(pace).deadMs) {
    signal.throwIfAborted();
    const group = await Group.open(3, redisPort, { alone: true });
    try {
      group.processes[1]?.kill("SIGKILL");
      await delay(Math.max(20, waitMs));
      rows.push([
        waitMs === 0 ? "the first write, at once" : `the first write, ${waitMs} ms later`,
        await write(group),
      ]);
      rows.push(["the next write", await write(group)]);
    } finally {
      await group.close();
    }
  }
  return { title: "A member that dies", rows, remarks: [] };
}

/** Twenty ids, read and written by one member of each process. */
async function mixes(surroundings: Surroundings): Promise<{ section: Section; commands: Section }> {
  const { redisPort, pace, signal, observer } = surroundings;
  const rows = [["group, Redis away", ...readsPerWrite.flatMap((reads) => [`${reads}:1 µs`, "× without"])]];
  const commands = [["three members", ...readsPerWrite.map((reads) => `${reads}:1`)]];
  const verdicts: string[] = [];
  const { groups, delaysMs } = scopeOf(pace);
  for (const delayMs of delaysMs) {
    const proxy = delayMs > 0 ? await DelayProxy.start(redisPort, delayMs) : undefined;
    try {
      for (const size of groups) {
        const plain: number[] = [];
        for (const isNear of [false, true]) {
          signal.throwIfAborted();
          const group = await Group.open(size, proxy?.port ?? redisPort, { isNear, ids: 20 });
          try {
            const times: number[] = [];
            for (const reads of readsPerWrite) {
              await group.hold();
              times.push(await microsecondsPerCall(group, reads, pace.turnMs));
            }
            const cells = times.flatMap((time, index) => [time.toFixed(1), (time / (plain[index] ?? time)).toFixed(2)]);
            rows.push([`${size}, ${delayMs} ms, ${isNear ? "near copies" : "without"}`, ...cells]);
            if (isNear) verdicts.push(verdictOf(size, delayMs, times, plain));
            else plain.push(...times);
            if (size === 3 && delayMs === 0) {
              const counted: string[] = [];
              for (const reads of readsPerWrite) {
                const request = { ids: 20, durationMs: Infinity, maxCalls: 10 * (reads + 1), readsPerWrite: reads };
                const [run, seen] = await observer.count(() => group.writer.ask("mix", request));
                counted.push((seen.commands / run.calls).toFixed(3));
              }
              commands.push([isNear ? "near copies" : "without", ...counted]);
            }
          } finally {
            await group.close();
          }
        }
      }
    } finally {
      await proxy?.stop();
    }
  }
  return {
    section: { title: "Reads and writes mixed: time for each, of one of the members", rows, remarks: verdicts },
    commands: {
      title: "Commands that Redis is sent for each read or write of one of the members",
      rows: commands,
      remarks: ["Renewals and answers of all three members included; what scripts call is not."],
    },
  };
}

/** All processes work at the same time; that of the writer is timed. */
async function microsecondsPerCall(group: Group, reads: number, durationMs: number): Promise<number> {
  const request = { ids: 20, durationMs, maxCalls: Infinity, readsPerWrite: reads };
  const runs = await Promise.all(group.processes.map((process) => process.ask("mix", request)));
  const [first] = runs;
  return first === undefined ? NaN : (first.elapsedMs / first.calls) * 1_000;
}

function verdictOf(size: number, delayMs: number, near: readonly number[], plain: readonly number[]): string {
  const paying = readsPerWrite.filter((_, index) => (near[index] ?? Infinity) < (plain[index] ?? 0));
  const least = paying.at(-1);
  const where = `${size} ${size === 1 ? "member" : "members"}, Redis ${delayMs} ms away`;
  return least === undefined
    ? `${where}: copies pay at none of these.`
    : `${where}: copies pay with ${least} ${least === 1 ? "read" : "reads"} or more to a write.`;
}

function quantile(figures: Float64Array, part: number): number {
  const sorted = Float64Array.from(figures).sort();
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? NaN;
}

function ms(figure: number): string {
  return figure.toFixed(2);
}
