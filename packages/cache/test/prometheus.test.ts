import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { createCache } from "../src/index.ts";
import { registerCacheMetrics } from "../src/prometheus.ts";
import { testClient, uniqueName } from "./harness/redis.ts";

test("a cache's counts and trips can be scraped, by collection and without ids", async () => {
  const name = uniqueName();
  const cache = createCache({ client: testClient(), name });
  const people = cache.collection<string>("person", { load: (id) => Promise.resolve(`value of ${id}`), ttlMs: 60_000 });
  const registry = new Registry();
  registerCacheMetrics(registry, [cache]);

  await people.getMany(["secret-1", "secret-2"]);
  const scraped = await registry.metrics();
  const again = await registry.metrics();

  const labels = `cache="${name}",collection="person"`;
  expect(scraped).toContain(`lockstep_cache_events_total{${labels},event="loads"} 2`);
  expect(scraped).toContain(`lockstep_cache_trip_seconds_count{${labels},tier="shared"} 1`);
  expect(again).toBe(scraped);
  expect(scraped).not.toContain("secret");
  cache.close();
});
