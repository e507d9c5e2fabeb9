import type { Redis } from "ioredis";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { describeMachine } from "../../bench/machine.ts";
import { eventually } from "../harness/eventually.ts";
import { FaultProxy } from "../harness/fault-proxy.ts";
import type { Fault } from "../harness/faults/fault.ts";
import { faults } from "../harness/faults/faults.ts";
import { Load } from "../harness/faults/load.ts";
import { untilWarm } from "../harness/faults/run-fault.ts";
import { keepPart, redisVersion } from "../harness/long-run.ts";
import { type Bound, growthOf, median } from "../harness/soak/growth.ts";
import { type Stack, startSharedDatabase, startStack } from "../harness/stack.ts";

const minutes = Number(process.env["SOAK_MINUTES"] ?? "28");

/** A server that no fault kills, so that it is the same process from beginning to end. */
const watched = 3;

/** Of the matrix: those that this server outlives, and that break nothing. */
const chosen = faults.filter(
  ({ name, on, limits, options }) =>
    on.includes("single") && limits === undefined && !options?.clocks && !/^(all web|the web servers)/.test(name),
);

const bounds: readonly Bound[] = [
  { name: "heap, MB", share: 0.1, plus: 2 },
  { name: "timers", share: 0.2, plus: 5 },
  { name: "sockets", share: 0.2, plus: 5 },
  { name: "file descriptors", share: 0.2, plus: 5 },
  { name: "keys of no session, state", share: 0.1, plus: 20 },
  { name: "keys, cache", share: 0.1, plus: 20 },
  { name: "sessions that nobody signed in to", share: 0, plus: 0 },
];
type Sample = Readonly<Record<string, number>>;

test("what a server holds does not grow, whatever fails around it", { timeout: (minutes + 8) * 60_000 }, async () => {
  const shared = await startSharedDatabase();
  const url = new URL(shared.url);
  const database = await FaultProxy.start(Number(url.port));
  url.port = `${database.port}`;
  const stack = await startStack({
    topology: "single",
    sessionStack: "middleware",
    nearCopies: "on",
    databaseUrl: url.href,
    proxied: [1, 2, 3],
    cacheProxied: [1, 2, 3],
    probed: true,
  });
  try {
    await untilWarm(stack);
    const load = await Load.start(stack, 6);
    const samples: Sample[] = [];
    const endsAt = performance.now() + minutes * 60_000;
    let begun = 0;
    while (performance.now() < endsAt) {
      await once(chosen[begun % chosen.length], stack, database, load);
      samples.push(await sampleOf(stack, load));
      begun += 1;
    }
    await load.end();
    const { tally } = load;
    expect(tally.examples).toEqual([]);
    expect(begun).toBeGreaterThanOrEqual(chosen.length);
    expect(growthOf(samples, bounds)).toEqual([]);
    keepPart("soak", reportOf(samples, { faults: begun, requests: tally.requests, failures: tally.failures }));
  } finally {
    await stack.stop();
    await database.stop();
    await shared.stop();
  }
});

/** Has a fault, and waits until all have got over it. */
async function once(fault: Fault | undefined, stack: Stack, database: FaultProxy, { tally }: Load): Promise<void> {
  if (fault === undefined) throw new Error("There is no fault.");
  const { end, seen } = await fault.begin(stack, { database, tally });
  await delay(fault.lastsMs);
  const seenTimes = await seen();
  await end?.();
  if (seenTimes === 0) throw new Error(`The fault "${fault.name}" did not happen.`);
  const endedAt = performance.now();
  const isOver = () => performance.now() - Math.max(endedAt, tally.lastFailureAt) > 3_000;
  await eventually(`nobody has met a failure for three seconds after "${fault.name}"`, isOver, {
    withinMs: 30_000,
    everyMs: 100,
  });
}

/** Of the keys in a Redis: sessions, which live for their day unless they are ended, and all that are not of one session. */
async function keysOf(redis: Redis | undefined): Promise<{ sessions: number; others: number }> {
  if (redis === undefined) throw new Error("There is no such Redis.");
  const keys = await redis.keys("*");
  const records = keys.filter((key) => /^sess:h:[\w-]{43}$/.test(key));
  const livesMs = await Promise.all(records.map((key) => redis.pttl(key)));
  // What is ended, or can't be read, stays for a minute so that nothing brings it back.
  return { sessions: livesMs.filter((ms) => ms > 3_600_000).length, others: keys.length - records.length };
}

async function sampleOf(stack: Stack, load: Load): Promise<Sample> {
  const { heapBytes, timers, sockets, descriptors } = await stack.probe(watched);
  const [state, cache] = [stack.stores.state[0]?.admin, stack.stores.cache[0]?.admin];
  const [inState, inCache] = [await keysOf(state), await keysOf(cache)];
  return {
    "heap, MB": heapBytes / 1_000_000,
    timers,
    sockets,
    "file descriptors": descriptors,
    "keys of no session, state": inState.others,
    "keys, cache": inCache.others + inCache.sessions,
    "sessions that nobody signed in to": Math.max(0, inState.sessions - load.sessions),
  };
}

function reportOf(
  samples: readonly Sample[],
  done: { readonly faults: number; readonly requests: number; readonly failures: number },
): string {
  const quarter = Math.floor(samples.length / 4);
  const quarters = [0, 1, 2, 3].map((each) => samples.slice(each * quarter, (each + 1) * quarter));
  const rows = bounds.map(({ name, share, plus }) => [
    name,
    ...quarters.map((part) => median(part, name).toFixed(name.includes("MB") ? 1 : 0)),
    `${share * 100} % and ${plus}`,
  ]);
  const head = [
    ["", "1st quarter", "2nd", "3rd", "last", "may grow by"],
    ["---", "---:", "---:", "---:", "---:", "---:"],
  ];
  return `# What a server holds while things fail around it

Written by \`npm run soak\`: ${minutes} minutes, ${done.requests.toLocaleString("en")} requests of six people (${done.failures.toLocaleString("en")} met a failure), ${done.faults}
faults of [reliability.md](reliability.md) one after the other. ${describeMachine(redisVersion()).slice(0, 2).join(" ")}

After each fault, when nobody has met a failure for three seconds, one server that was never killed is asked what it holds after a
collection of garbage, and both Redis how many keys they have. A sign-in whose answer a fault took has made a session that
nobody has a cookie of: it stays for its day, and is not counted. Below are the medians of each quarter; the run fails if the last is
further above the second than its row allows, or if anybody was told what is not so.

${[...head, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")}
`;
}
