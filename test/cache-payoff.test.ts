import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Cache, type Collection, createCache, type PayoffReport } from "@lockstep/cache";
import { DelayProxy } from "../bench/delay-proxy.ts";
import { startRedis } from "../infra/local/parts.mjs";
import { freePort } from "../infra/local/processes.mjs";
import { inParallel } from "./harness/cache/in-parallel.ts";
import { report } from "./harness/cache/report.ts";
import { eventually } from "./harness/eventually.ts";

/** At once; no more than a collection's loads, so that no read waits for a place. */
const width = 8;

/** Whatever else the machine does, a verdict is there by then. */
const maxRounds = 30;

const times = { ttlMs: 600_000, pendingMs: 900, commitDeadlineMs: 800, loadTimeoutMs: 10_000 };

interface Work {
  readonly name: string;
  /** How long the source takes for each load. Its writes take no time. */
  readonly sourceMs: number;
  /** The ids of a round. What is done with one is done in turn, so that no two writes of one id overlap. */
  readonly ids: (round: number) => readonly string[];
  readonly calls: readonly ("read" | "update")[];
  readonly truth: "pays" | "costs";
}

const same = (count: number) => () => Array.from({ length: count }, (_, index) => `id-${index}`);
const others = (count: number) => (round: number) => same(count)().map((id) => `${id}-${round}`);
const repeated = <T>(count: number, ...calls: T[]) => Array.from({ length: count }, () => calls).flat();

// Each differs from its opposite by a factor of two at least, at both distances.
const works: readonly Work[] = [
  { name: "few ids, read often", sourceMs: 20, ids: same(25), calls: repeated(20, "read"), truth: "pays" },
  { name: "each id once", sourceMs: 1, ids: others(400), calls: ["read"], truth: "costs" },
  {
    name: "an update for each read, a slow source",
    sourceMs: 30,
    ids: same(25),
    calls: repeated(10, "read", "update"),
    truth: "pays",
  },
  {
    name: "an update for each read, a fast source",
    sourceMs: 1,
    ids: same(25),
    calls: repeated(10, "read", "update"),
    truth: "costs",
  },
  {
    name: "thirty updates for each read, a slow source",
    sourceMs: 20,
    ids: same(25),
    calls: ["read", ...repeated(30, "update" as const)],
    truth: "costs",
  },
];

/** What the same calls took their callers, all together, in ms. */
interface Truth {
  withCacheMs: number;
  withoutMs: number;
}

interface Row {
  readonly hopMs: number;
  readonly work: Work;
  readonly truth: Truth;
  readonly found: PayoffReport;
}

let directory: string;
let redis: Awaited<ReturnType<typeof startRedis>>;
const rows: Row[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lockstep-payoff-"));
  redis = await startRedis({ role: "cache", port: await freePort(), directory, persistent: false });
});
afterAll(async () => {
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
  const ms = (value: number | null) => (value === null ? "–" : value.toFixed(2));
  await report("cache-payoff", {
    title: "What the payoff report says, and what the same calls took with and without the cache",
    columns: [
      "work",
      "hop, ms",
      "reads",
      "with, s",
      "without, s",
      "net of the report, s",
      "a read, ms",
      "a load, ms",
      "",
    ],
    rows: rows.map(({ hopMs, work, truth, found }) => [
      work.name,
      hopMs,
      found.reads,
      (truth.withCacheMs / 1_000).toFixed(2),
      (truth.withoutMs / 1_000).toFixed(2),
      ((found.netMs ?? NaN) / 1_000).toFixed(2),
      ms(found.readMs),
      ms(found.loadMs),
      found.verdict,
    ]),
    details: ["with, without: the sum of what callers waited for the same calls, run in turns"],
  });
});

/** A cache on a Redis that is `hopMs` away, once that keeps what is loaded. */
async function openAway(hopMs: number): Promise<Cache> {
  const proxy = await DelayProxy.start(redis.port, hopMs);
  const client = new Redis(proxy.port);
  const cache = createCache({ client, name: `payoff-${randomUUID()}`, deadlineMs: 10_000 });
  onTestFinished(async () => {
    cache.close();
    client.disconnect();
    await proxy.stop();
  });
  const warmUp = cache.collection<string>("warm-up", { load: (id) => Promise.resolve(id), ...times });
  await eventually("what was loaded is cached", async () => (await warmUp.lookup("a")).from === "shared");
  return cache;
}

/** What the callers waited for, in ms, when each id of a round was used as the work says. */
async function waitedFor(
  { ids, calls }: Work,
  round: number,
  perform: Record<"read" | "update", (id: string) => Promise<unknown>>,
): Promise<number> {
  let totalMs = 0;
  await inParallel(ids(round), width, async (id) => {
    for (const call of calls) {
      const startedAt = performance.now();
      await perform[call](id);
      totalMs += performance.now() - startedAt;
    }
  });
  return totalMs;
}

/** Rounds with and without the cache in turns, so that whatever disturbs the machine disturbs both, until there is a verdict. */
async function compare(work: Work, collection: Collection<string>, load: (id: string) => Promise<string>) {
  const write = () => Promise.resolve("written");
  const truth: Truth = { withCacheMs: 0, withoutMs: 0 };
  for (let round = 0; round < maxRounds && collection.report().verdict === "needs more reads"; round += 1) {
    truth.withoutMs += await waitedFor(work, round, { read: load, update: write });
    truth.withCacheMs += await waitedFor(work, round, {
      read: (id) => collection.get(id),
      update: (id) => collection.update(id, write),
    });
  }
  return truth;
}

describe.each([0.5, 2])("with Redis %s ms away, the report's verdict is what the callers waited for", (hopMs) => {
  test.each(works.map((work) => [work.name, work.truth, work] as const))("%s: it %s", async (_name, _truth, work) => {
    const cache = await openAway(hopMs);
    const load = async (id: string) => {
      await delay(work.sourceMs);
      return `value of ${id}`;
    };
    const collection = cache.collection<string>("work", { load, ...times });

    const truth = await compare(work, collection, load);

    const found = collection.report();
    rows.push({ hopMs, work, truth, found });
    const verdict = truth.withCacheMs < truth.withoutMs ? "pays" : "costs";
    expect(verdict).toBe(work.truth);
    expect(found.verdict).toBe(verdict);
  });
});
