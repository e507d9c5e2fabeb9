import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { connectBySentinel, type SentinelSet, startSentinelSet } from "../../redis-kit/test/harness/topologies.ts";
import { createCache } from "../src/index.ts";
import { expectAllToWork } from "./harness/all-to-work.ts";
import { History } from "./harness/history.ts";
import { Load } from "./harness/load.ts";
import { uniqueName, untilOldEnough } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";

const times = { pendingMs: 900, commitDeadlineMs: 800 };
const ids = ["a", "b", "c"];

let set: SentinelSet;
beforeEach(async () => {
  set = await startSentinelSet();
}, 30_000);
afterEach(() => set.stop());

/** A server behind the sentinels, once its primary is old enough for fills. */
async function openBehindSentinel(source: Source, { name = uniqueName(), deadlineMs = 250, isPlanned = true } = {}) {
  const client = connectBySentinel(set, { failoverDetector: isPlanned });
  const cache = createCache({ client, name, deadlineMs });
  onTestFinished(() => {
    cache.close();
  });
  await until(() => cache.ready());
  await untilOldEnough((await set.primary()).admin, times.pendingMs);
  const things = cache.collection<unknown>("thing", { load: source.load, ttlMs: 60_000, ...times });
  return { source, client, things };
}

/** Waits, for as long as sentinels may take, until the client is connected to another server than this. */
async function untilMovedFrom(port: number, client: ReturnType<typeof connectBySentinel>): Promise<void> {
  const isMoved = () => client.status === "ready" && client.stream.remotePort !== port;
  await expect.poll(isMoved, { timeout: 20_000 }).toBe(true);
}

describe("behind Sentinel, a cache", () => {
  it("does all that it does", async () => {
    const source = new Source();
    const { things } = await openBehindSentinel(source, { deadlineMs: 5_000 });
    await expectAllToWork(things, source);
  }, 30_000);

  it.each<[string, boolean, () => Promise<unknown>]>([
    ["a planned failover", true, () => set.failOver()],
    ["the death of the primary", false, async () => (await set.primary()).process.kill("SIGKILL")],
  ])(
    "fails no read and gives a server nothing older than it has written, through %s",
    async (_, isPlanned, fail) => {
      const source = new Source();
      const name = uniqueName();
      const server = await openBehindSentinel(source, { name, isPlanned });
      const other = await openBehindSentinel(source, { name, isPlanned });
      const load = new Load(server, ids);
      await until(() => expect(load.updates).toBeGreaterThan(20));
      const { port } = await set.primary();
      await fail();
      await untilMovedFrom(port, server.client);
      await untilMovedFrom(port, other.client);
      const { updates } = load;
      // Accepted again, by the same client.
      await until(() => expect(load.updates).toBeGreaterThan(updates + 20));
      await load.stop();
      expect(load.refusals.every((code) => code === "UNAVAILABLE")).toBe(true);
      await expectVisible(server, other);
      await until(async () => {
        for (const id of ids) expect((await other.things.lookup(id)).from).toBe("shared");
      });
    },
    40_000,
  );
});

/** After the recovery: what one server has written the other sees, at once. */
async function expectVisible(
  writer: Awaited<ReturnType<typeof openBehindSentinel>>,
  reader: Awaited<ReturnType<typeof openBehindSentinel>>,
): Promise<void> {
  const history = new History();
  for (let value = 1_000_000; value < 1_000_050; value += 1) {
    // Refused where the sentinels' message comes late: it makes the client connect once more.
    await until(() => writer.things.update("a", writer.source.write("a", value)));
    history.acknowledged(value);
    const sentAt = performance.now();
    history.expectRecent(await reader.things.get("a"), sentAt);
  }
}
