import { onTestFinished } from "vitest";
import { startMemcached } from "../../../../infra/local/parts.mjs";
import { freePort } from "../../../../infra/local/processes.mjs";
import { connectMemcached, type Memcached, type MemcachedServer } from "../../src/memcached.ts";

/** Long: on a busy machine a late answer is no outage. */
const timeoutMs = 10_000;

/** A Memcached of the test's own. */
export async function startOwnMemcached({ settings = [] as readonly string[], port = 0 } = {}) {
  const memcached = await startMemcached({ port: port || (await freePort()), settings });
  onTestFinished(() => memcached.stop());
  return memcached;
}

/** A connection to servers, closed after the test that asked for it. */
export function testMemcached(servers: readonly MemcachedServer[], options = { timeoutMs }): Memcached {
  const memcached = connectMemcached(servers, options);
  onTestFinished(() => {
    memcached.close();
  });
  return memcached;
}
