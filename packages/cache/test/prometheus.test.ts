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

test("what a cache's reports say can be scraped, and what they do not know is absent", async () => {
  const name = uniqueName();
  const cache = createCache({ client: testClient(), name });
  const people = cache.collection<string>("person", { load: (id) => Promise.resolve(`value of ${id}`), ttlMs: 60_000 });
  cache.collection<string>("unread", { load: () => Promise.resolve("never"), ttlMs: 60_000 });
  const registry = new Registry();
  registerCacheMetrics(registry, [cache]);

  await people.getMany(["secret-1", "secret-2"]);
  const { readMs, loadMs, netMsPerRead } = people.report();
  const scraped = await registry.metrics();

  const labels = `cache="${name}",collection="person"`;
  expect(scraped).toContain(`lockstep_cache_read_mean_seconds{${labels}} ${(readMs ?? NaN) / 1_000}\n`);
  expect(scraped).toContain(`lockstep_cache_load_mean_seconds{${labels}} ${(loadMs ?? NaN) / 1_000}\n`);
  expect(scraped).toContain(
    `lockstep_cache_net_seconds_per_read{${labels}} ${(netMsPerRead?.meanMs ?? NaN) / 1_000}\n`,
  );
  expect(scraped).toContain(`lockstep_cache_verdict{${labels},verdict="needs more reads"} 1\n`);
  expect(scraped).toContain(`lockstep_cache_verdict{${labels},verdict="pays"} 0\n`);
  expect(scraped).not.toMatch(/write_mean_seconds\{/);
  expect(scraped).not.toMatch(/_seconds\{[^}]*"unread"/);
  expect(scraped).not.toContain("secret");
  cache.close();
});
