import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { createCache } from "../src/index.ts";
import { registerCacheMetrics } from "../src/prometheus.ts";
import { Ledger } from "./harness/ledger.ts";
import { testClient, uniqueName } from "./harness/redis.ts";
import { openQueueServer, startQueueRedis } from "./harness/write-behind.ts";

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

test("what waits to be saved can be scraped, and is absent while Redis can't be asked", async () => {
  const { client } = await startQueueRedis();
  const ledger = new Ledger();
  const { cache, rows } = openQueueServer(ledger, { client, flushAfterMs: 3_600_000, deadlineMs: 500 });
  await Promise.all(["a", "b"].map((id) => rows.set(id, 1)));
  const registry = new Registry();
  registerCacheMetrics(registry, [cache]);
  const scraped = await registry.metrics();
  const labels = `cache="${cache.name}",collection="row"`;
  expect(scraped).toContain(`lockstep_cache_backlog_rows{${labels}} 2\n`);
  expect(scraped).toMatch(/lockstep_cache_backlog_oldest_seconds\{.*\} [\d.e-]+\n/);
  expect(scraped).toContain(`lockstep_cache_dead_letters{${labels}} 0\n`);
  client.disconnect();
  const blind = await registry.metrics();
  expect(blind).toContain("lockstep_cache_events_total{");
  expect(blind).not.toMatch(/lockstep_cache_(backlog|dead)\w*\{/);
});
