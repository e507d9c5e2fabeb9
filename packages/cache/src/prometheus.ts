import { subscribe } from "node:diagnostics_channel";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Cache } from "./cache.ts";
import { type Trip, tripChannel } from "./counts.ts";
import type { PayoffReport, PayoffVerdict } from "./payoff.ts";
import type { Backlog } from "./write-behind/backlog.ts";

/** Upper bounds in seconds, from a hit on the same machine to a load that times out. */
const buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5];

/**
 * Registers the metrics of caches with Prometheus' client, for as long as the process lives. Call it once a registry:
 *
 * - `lockstep_cache_events_total{cache,collection,event}`: each number of `counts()`;
 * - `lockstep_cache_trip_seconds{cache,collection,tier}`: a histogram of the trips to Redis and to the source;
 * - `lockstep_cache_read_mean_seconds`, `lockstep_cache_load_mean_seconds`, `lockstep_cache_write_mean_seconds`,
 *   `lockstep_cache_net_seconds_per_read` and `lockstep_cache_break_even_ratio`, each `{cache,collection}`: the numbers of
 *   `report()`, absent until they are known;
 * - `lockstep_cache_verdict{cache,collection,verdict}`: 1 for the verdict of `report()`, 0 for the others;
 * - `lockstep_cache_backlog_rows`, `lockstep_cache_backlog_oldest_seconds` and `lockstep_cache_dead_letters`, each `{cache,collection}`:
 *   what `backlog()` of write-behind collections says at each scrape, of all servers: one's is enough; absent while Redis can't be asked.
 *
 * No label holds an id.
 */
export function registerCacheMetrics(registry: Registry, caches: readonly Cache[]): void {
  new Counter({
    name: "lockstep_cache_events_total",
    help: "What happened to the reads and writes of a collection.",
    labelNames: ["cache", "collection", "event"],
    registers: [registry],
    collect() {
      // The counts are kept elsewhere, as totals: a counter can only be raised.
      this.reset();
      for (const cache of caches) {
        for (const collection of cache.collections()) {
          for (const [event, count] of Object.entries({ ...collection.counts() })) {
            this.inc({ cache: cache.name, collection: collection.type, event }, count);
          }
        }
      }
    },
  });
  const seconds = new Histogram({
    name: "lockstep_cache_trip_seconds",
    help: "How long trips to a tier took.",
    labelNames: ["cache", "collection", "tier"],
    buckets,
    registers: [registry],
  });
  const names = new Set(caches.map(({ name }) => name));
  subscribe(tripChannel, (message) => {
    const { cache, collection, tier, durationMs } = message as Trip;
    if (names.has(cache)) seconds.observe({ cache, collection, tier }, durationMs / 1_000);
  });
  registerPayoff(registry, caches);
  registerBacklogs(registry, caches);
}

const verdicts: readonly PayoffVerdict[] = ["pays", "costs", "needs more reads"];

/** What is shown of a report: a number, or null while it is not known. */
const payoffNumbers: readonly { name: string; help: string; of: (report: PayoffReport) => number | null }[] = [
  { name: "read_mean_seconds", help: "Mean time of a read.", of: ({ readMs }) => inSeconds(readMs) },
  {
    name: "load_mean_seconds",
    help: "Mean time of a load: what a read would take without the cache.",
    of: ({ loadMs }) => inSeconds(loadMs),
  },
  {
    name: "write_mean_seconds",
    help: "Mean time that a write waits for the cache.",
    of: ({ writeMs }) => inSeconds(writeMs),
  },
  {
    name: "net_seconds_per_read",
    help: "What a read saves, less what writes pay.",
    of: ({ netMsPerRead }) => inSeconds(netMsPerRead?.meanMs ?? null),
  },
  {
    name: "break_even_ratio",
    help: "The hit rate from which the cache pays, writes aside.",
    of: ({ breakEvenHitRate }) => breakEvenHitRate,
  },
];

function registerPayoff(registry: Registry, caches: readonly Cache[]): void {
  const reports = () =>
    caches.flatMap((cache) =>
      cache.collections().flatMap((each) => {
        const report = each.report?.();
        return report === undefined ? [] : [{ labels: { cache: cache.name, collection: each.type }, report }];
      }),
    );
  for (const { name, help, of } of payoffNumbers) {
    new Gauge({
      name: `lockstep_cache_${name}`,
      help,
      labelNames: ["cache", "collection"],
      registers: [registry],
      collect() {
        for (const { labels, report } of reports()) {
          const value = of(report);
          if (value !== null) this.set(labels, value);
        }
      },
    });
  }
  new Gauge({
    name: "lockstep_cache_verdict",
    help: "Whether the cache of a collection pays: 1 for its verdict.",
    labelNames: ["cache", "collection", "verdict"],
    registers: [registry],
    collect() {
      for (const { labels, report } of reports()) {
        for (const verdict of verdicts) this.set({ ...labels, verdict }, Number(verdict === report.verdict));
      }
    },
  });
}

/** What is shown of a backlog. */
const backlogNumbers: readonly { name: string; help: string; of: (backlog: Backlog) => number }[] = [
  { name: "backlog_rows", help: "Rows that wait to be saved, of all servers.", of: ({ rows }) => rows },
  {
    name: "backlog_oldest_seconds",
    help: "For how long the oldest row has waited to be saved.",
    of: ({ oldestMs }) => oldestMs / 1_000,
  },
  { name: "dead_letters", help: "Rows that are not tried to be saved any more.", of: ({ deadLetters }) => deadLetters },
];

function registerBacklogs(registry: Registry, caches: readonly Cache[]): void {
  let looking: ReturnType<typeof backlogsOf> | undefined;
  // One look a scrape, for all its gauges.
  const look = () =>
    (looking ??= backlogsOf(caches).finally(() => {
      looking = undefined;
    }));
  for (const { name, help, of } of backlogNumbers) {
    new Gauge({
      name: `lockstep_cache_${name}`,
      help,
      labelNames: ["cache", "collection"],
      registers: [registry],
      async collect() {
        const backlogs = await look();
        this.reset();
        for (const { labels, backlog } of backlogs) this.set(labels, of(backlog));
      },
    });
  }
}

/** Without those that can't be told: a scrape has the rest all the same. */
async function backlogsOf(caches: readonly Cache[]) {
  const looks = caches.flatMap((cache) =>
    cache.collections().map(async (each) => {
      const labels = { cache: cache.name, collection: each.type };
      const backlog = await each.backlog?.().catch(() => undefined);
      return backlog === undefined ? [] : [{ labels, backlog }];
    }),
  );
  return (await Promise.all(looks)).flat();
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1_000;
}
