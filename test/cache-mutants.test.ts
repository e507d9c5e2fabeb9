import { afterAll, beforeAll, expect, test } from "vitest";
import { buildWorker } from "./harness/cache/build-worker.ts";
import type { CacheOnServer, CacheServer } from "./harness/cache/cache-server.ts";
import { Fleet } from "./harness/cache/fleet.ts";
import { History } from "./harness/cache/history.ts";
import { killAtEveryBoundary } from "./harness/cache/killed-update.ts";
import { withoutRedis } from "./harness/cache/outage.ts";
import { loadProduct, maxSourceConcurrency, pendingMs } from "./harness/cache/products.ts";
import { seedOfRun } from "./harness/cache/random.ts";
import { Records } from "./harness/cache/records.ts";
import { writeAcrossRestart } from "./harness/cache/restart.ts";
import {
  handedOverWithinMs,
  loaderKilled,
  loadFails,
  loadHangs,
  stampede,
  takenOverWithinMs,
} from "./harness/cache/stampede.ts";
import { lateReader, staleFill } from "./harness/cache/stale-fill.ts";
import { untilCached } from "./harness/cache/until-cached.ts";
import { FaultProxy } from "./harness/fault-proxy.ts";
import type { Mutation } from "./harness/mutant.ts";

const seed = seedOfRun();

let fleet: Fleet;
beforeAll(async () => {
  fleet = await Fleet.start();
});
afterAll(() => fleet.stop());

/** What goes wrong, and how often it was seen. */
type Violations = (servers: readonly CacheServer[]) => Promise<number>;

async function open(servers: readonly CacheServer[], name: string, records = new Records(), redisUrl = fleet.redisUrl) {
  return fleet.openOn(servers, { product: await loadProduct(name), records, redisUrl });
}

const staleFills: Violations = async (servers) => {
  const { violations } = await staleFill((records) => open(servers, "lockstep", records), { rounds: 300, seed });
  return violations;
};

const staleLateReads: Violations = async (servers) => {
  const { violations } = await lateReader((records) => open(servers, "lockstep, cache-aside", records), { rounds: 50 });
  return violations;
};

/** With write-through the end would store the new value over what was filled too early; here it stays. */
const staleAfterKill: Violations = async (servers) => {
  const caches = await open(servers, "lockstep, brief, cache-aside");
  const kills = await killAtEveryBoundary(fleet, caches, pendingMs / 2);
  return kills.reduce((sum, { stale }) => sum + stale, 0);
};

const loadsTooMany: Violations = async (servers) => (await stampede(fleet, await open(servers, "lockstep"))).loads - 1;

const notTakenOver =
  (
    disturbed: (fleet: Fleet, caches: readonly CacheOnServer[]) => ReturnType<typeof stampede>,
    withinMs: number,
  ): Violations =>
  async (servers) => {
    const { loads, failures, elapsedMs } = await disturbed(fleet, await open(servers, "lockstep, brief"));
    return loads - 2 + failures.length - 1 + (elapsedMs < withinMs ? 0 : 1);
  };

const loadedByJoining: Violations = async (servers) => {
  const records = new Records();
  const caches = await open(servers, "lockstep", records);
  const ids = Array.from({ length: 100 }, (_, index) => `warm-${index}`);
  for (const id of ids) records.commit(id);
  for (const cache of caches) await cache.getMany(ids);
  const fourth = await fleet.join(caches);
  const { loads } = records;
  await fourth.getMany(ids);
  return records.loads - loads;
};

const staleAfterRestart: Violations = async (servers) => {
  const { violations } = await writeAcrossRestart(fleet, await open(servers, "lockstep"));
  return violations.length;
};

async function duringOutage(servers: readonly CacheServer[]) {
  const proxy = await FaultProxy.start(Number(new URL(fleet.redisUrl).port));
  try {
    const records = new Records();
    const redisUrl = `redis://127.0.0.1:${proxy.port}`;
    const caches = await open(servers, "lockstep, brief, few loads", records, redisUrl);
    const ids = Array.from({ length: 20 }, (_, index) => `gone-${index}`);
    for (const id of ids) records.commit(id);
    const history = new History(records);
    await untilCached(caches, history, ids);
    const gone = { fault: "hold", seenIn: "heldChunks", maxInFlight: maxSourceConcurrency } as const;
    return await withoutRedis(caches, { history, ids, proxy }, gone);
  } finally {
    await proxy.stop();
  }
}

const loadsAtOnceTooMany: Violations = async (servers) =>
  (await duringOutage(servers)).peakInFlight - maxSourceConcurrency;

const updatesThatRan: Violations = async (servers) => (await duringOutage(servers)).saves;

const readsWithoutEnd: Violations = async (servers) =>
  duringOutage(servers).then(
    () => 0,
    (error: unknown) =>
      String(error).includes("in vain until the source is asked") ? 1 : Promise.reject(error as Error),
  );

const mutants: readonly { rule: string; violations: Violations; mutation: Mutation }[] = [
  {
    rule: "a fill is stored only with the token that it was given (C5)",
    violations: staleFills,
    mutation: {
      name: "fill-without-token",
      file: "lua/store.lua",
      cut: "not (isFill or isRefresh)",
      instead: "false",
    },
  },
  {
    rule: "a write that begins voids the tokens of loads under way (C5)",
    violations: staleFills,
    mutation: {
      name: "begin-keeps-entry",
      file: "lua/begin.lua",
      cut: 'redis.call("DEL", KEYS[1])\n',
      instead: "",
    },
  },
  {
    rule: "of two writes that overlap neither stores its value",
    violations: staleFills,
    mutation: {
      name: "overlapping-writes",
      file: "lua/begin.lua",
      cut: "#others > 0 or ",
      instead: "",
    },
  },
  {
    rule: "an invalidation keeps pending writes from storing theirs",
    violations: staleFills,
    mutation: {
      name: "overlapping-invalidation",
      file: "lua/pending.lua",
      cut: "  dropAtEnd(mark, pendingTokens(mark))\n",
      instead: "",
    },
  },
  {
    rule: "a load that has been sent is joined by nobody who comes later (C6)",
    violations: staleLateReads,
    mutation: {
      name: "shared-load",
      file: "src/source-loads.ts",
      cut: "    const shared = this.#waiting.get(text);\n",
      instead: `    const sent = (this.sent ??= new Map());
    const shared = this.#waiting.get(text) ?? sent.get(text);
    queueMicrotask(() => {
      const load = this.#waiting.get(text);
      if (load !== undefined) void sent.set(text, load).get(text).promise.finally(() => sent.delete(text));
    });
`,
    },
  },
  {
    rule: "nothing is filled while a write is pending (C4)",
    violations: staleAfterKill,
    mutation: {
      name: "fill-while-pending",
      file: "lua/read.lua",
      cut: "#pendingTokens(mark) > 0",
      instead: "false",
    },
  },
  {
    rule: "who finds a load under way waits for it (F3)",
    violations: loadsTooMany,
    mutation: {
      name: "load-each",
      file: "lua/read.lua",
      cut: 'return "busy"',
      instead: 'return "pending"',
    },
  },
  {
    rule: "a fill token has a life (F3)",
    violations: notTakenOver(loaderKilled, takenOverWithinMs),
    mutation: {
      name: "immortal-token",
      file: "lua/read.lua",
      cut: '.. token, "PX", ARGV[2])',
      instead: ".. token)",
    },
  },
  {
    rule: "a load that fails gives its token back (F3)",
    violations: notTakenOver(
      (fleet, caches) => loadFails(fleet, caches, new Error("out of order")),
      handedOverWithinMs,
    ),
    mutation: {
      name: "token-kept",
      file: "src/reader.ts",
      cut: "        this.#fills.giveUp(entry, token);\n",
      instead: "",
    },
  },
  {
    rule: "a load has a timeout (F5)",
    violations: notTakenOver(loadHangs, takenOverWithinMs),
    mutation: {
      name: "endless-load",
      file: "src/source-loads.ts",
      cut: "deadlineMs: loadTimeoutMs, lateError",
      instead: "deadlineMs: 60_000, lateError",
    },
  },
  {
    rule: "servers share their entries",
    violations: loadedByJoining,
    mutation: {
      name: "entries-apart",
      file: "src/keys.ts",
      cut: "const start = `${cache}:${version}:{${collection}:`",
      instead: "const start = `${cache}:${process.pid}:${version}:{${collection}:`",
    },
  },
  {
    rule: "so many loads at a time, and no more (F7)",
    violations: loadsAtOnceTooMany,
    mutation: {
      name: "source-flooded",
      file: "src/source-loads.ts",
      cut: " && this.#running < this.#options.maxSourceConcurrency",
      instead: "",
    },
  },
  {
    rule: "without its begin a write does not run (F9)",
    violations: updatesThatRan,
    mutation: {
      name: "write-without-begin",
      file: "src/writer.ts",
      cut: '      this.#parts.counts.add("refusedUpdates");\n      throw unavailable(error);',
      instead: "      return undefined;",
    },
  },
  {
    rule: "a command has a deadline (F7)",
    violations: readsWithoutEnd,
    mutation: {
      name: "endless-command",
      file: "src/drivers/redis.ts",
      cut: "new Commands(client, { deadlineMs })",
      instead: "new Commands(client, { deadlineMs: 60_000 + deadlineMs })",
    },
  },
  {
    // Last: its Redis starts anew, and caches nothing for a while.
    rule: "nothing is filled in a young epoch (C9)",
    violations: staleAfterRestart,
    mutation: {
      name: "young-epoch",
      file: "lua/read.lua",
      cut: "not isOlderThan(tonumber(ARGV[3]), ARGV[4])",
      instead: "false",
    },
  },
];

for (const { rule, violations, mutation } of mutants) {
  test(`${mutation.name} is noticed once this rule is taken out: ${rule}`, async () => {
    const servers = fleet.startServers(await buildWorker(mutation), 3);
    try {
      expect(await violations(servers)).toBeGreaterThan(0);
    } finally {
      await Promise.all(servers.map((server) => server.kill()));
    }
  });
}
