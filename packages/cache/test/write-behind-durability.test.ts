import { expect, it, onTestFinished } from "vitest";
import { FaultProxy } from "../../../test/harness/fault-proxy.ts";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { startReplica } from "../../redis-kit/test/harness/topologies.ts";
import { createCache } from "../src/index.ts";
import { Ledger } from "./harness/ledger.ts";
import { until } from "./harness/until.ts";
import { openQueueServer } from "./harness/write-behind.ts";

const hour = 3_600_000;
const durability = { replicas: 1, timeoutMs: 200 };
const durable: typeof createCache = (options) =>
  "client" in options && options.client ? createCache({ ...options, durability }) : createCache(options);

/** A primary that may be trusted with writes, its replica, and what is between them. */
async function startPair() {
  const primary = await startOwnRedis({ persistent: true });
  const link = await FaultProxy.start(primary.port);
  onTestFinished(() => link.stop());
  const topology = await startReplica(link);
  onTestFinished(() => topology.stop());
  // What takes the primary's place must be one to trust with writes too.
  await topology.replica.admin.config("SET", "appendonly", "yes");
  return { primary, link, replica: topology.replica, client: connect(primary.port) };
}

it.each([
  { waits: "waits for a replica", create: durable, lost: 0 },
  { waits: "does not", create: createCache, lost: 20 },
])("of what was accepted, a failover loses $lost where a write $waits", async ({ create, lost }) => {
  const { primary, link, replica, client } = await startPair();
  const ledger = new Ledger<number>();
  const { rows, cache } = openQueueServer(ledger, { client, create, flushAfterMs: hour });
  await until(() => rows.set("first", 1));
  const accept = (start: string) =>
    Promise.allSettled(Array.from({ length: 20 }, (_, index) => rows.set(`${start}-${index}`, index)));
  const before = await accept("before");
  expect(before.every(({ status }) => status === "fulfilled")).toBe(true);
  if (create === durable) await until(async () => expect((await replica.admin.keys("*before-*")).length).toBe(20));

  await link.set("hold");
  const cutOff = await accept("cut-off");
  const accepted = cutOff.filter(({ status }) => status === "fulfilled").length;
  if (create === durable) {
    for (const result of cutOff) {
      expect(result).toMatchObject({
        reason: { code: expect.stringMatching(/OUTCOME_UNKNOWN|UNAVAILABLE/) as string },
      });
    }
  }
  cache.close();
  primary.kill("SIGKILL");
  await primary.exited;
  await replica.admin.replicaof("NO", "ONE");
  const kept = await replica.admin.keys("*entry:cut-off-*");
  expect(accepted - kept.length).toBe(lost);
});
