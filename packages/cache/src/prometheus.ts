import { subscribe } from "node:diagnostics_channel";
import { Counter, Histogram, type Registry } from "prom-client";
import type { Cache } from "./cache.ts";
import { type Trip, tripChannel } from "./counts.ts";

/** Upper bounds in seconds, from a hit on the same machine to a load that times out. */
const buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5];

/**
 * Registers the metrics of caches with Prometheus' client, for as long as the process lives. Call it once a registry:
 *
 * - `lockstep_cache_events_total{cache,collection,event}`: each number of `counts()`;
 * - `lockstep_cache_trip_seconds{cache,collection,tier}`: a histogram of the trips to Redis and to the source.
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
}
