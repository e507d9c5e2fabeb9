import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { joinNearCache, type NearCache } from "@lockstep/near-cache";
import { Redis } from "ioredis";
import { type Later, paced } from "./harness/in-order.ts";
import { uniqueName, untilOldEnough } from "./harness/redis.ts";
import { openServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";

interface Step {
  readonly server: 0 | 1 | 2;
  readonly does: "get" | "update" | "change and invalidate";
  readonly id: "a" | "b";
}

const steps = fc.record<Step>({
  server: fc.constantFrom(0, 1, 2),
  does: fc.constantFrom("get", "get", "get", "get", "update", "change and invalidate"),
  id: fc.constantFrom("a", "a", "a", "b"),
});
/** What several users do at the same time, each one thing after the other. */
const plans = fc.array(fc.array(steps, { minLength: 3, maxLength: 10 }), { minLength: 2, maxLength: 4 });

/** A write has to outlast a lease. */
const times = { pendingMs: 3_000, commitDeadlineMs: 2_900 };

let later: Later = () => Promise.resolve();
let clients: Redis[] = [];
let members: NearCache[] = [];

beforeAll(async () => {
  const group = uniqueName();
  clients = Array.from({ length: 3 }, () => new Redis(inject("redisUrl"), { protocol: 2 }));
  const joined = clients.map((client) =>
    joinNearCache({ client: paced(client, (what) => later(what)), group, leaseMs: 2_000 }),
  );
  members = await Promise.all(joined);
  // C9: until then writes wait, and nothing is filled.
  await sleep(2_100);
  for (const client of clients) await untilOldEnough(client, times.pendingMs);
});

afterAll(async () => {
  await Promise.all(members.map((near) => near.close()));
  for (const client of clients) client.disconnect();
});

// Each command, reply, revocation, answer, load and write waits until fast-check lets it go on: its seed replays a failure.
it(
  "G1: with near copies a read never gives less than what was acknowledged, or read, before it began",
  { timeout: 60_000 },
  async () => {
    let nearHits = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
        later = (what) => scheduler.schedule(Promise.resolve(), what);
        const name = uniqueName();
        const rows = new Map<string, number>();
        const load = async (id: string) => {
          await later(`a load of ${id} arrives`);
          const value = rows.get(id);
          await later(`a load of ${id} returns`);
          return value;
        };
        const servers = members.map((near) =>
          openServer(new Source(), { near, client: near.client as Redis, name, load, ...times }),
        );
        // Versions count up. `seen` is the least that a read may give that begins now.
        const seen = new Map<string, number>();
        const unsettled = new Set<number>();
        const see = (id: string, version: number) => {
          if (!unsettled.has(version)) seen.set(id, Math.max(version, seen.get(id) ?? 0));
        };
        let version = 0;
        const write = async (id: string, isPast = false) => {
          await later(`a write of ${id}`);
          version += 1;
          // Past the cache: others may see the old value until it is invalidated, whoever has read the new one from the source.
          if (isPast) unsettled.add(version);
          rows.set(id, version);
          const written = version;
          await later(`a write of ${id} returns`);
          return written;
        };
        const run = async ({ server, does, id }: Step) => {
          const things = servers[server]?.things;
          if (things === undefined) return;
          if (does === "get") {
            const least = seen.get(id) ?? 0;
            const found = ((await things.get(id)) as number | undefined) ?? 0;
            expect(found).toBeGreaterThanOrEqual(least);
            see(id, found);
          } else if (does === "update") {
            see(id, (await things.update(id, () => write(id))) as number);
          } else {
            const written = await write(id, true);
            await things.invalidate(id);
            unsettled.delete(written);
            see(id, written);
          }
        };
        const users = plan.map(async (all) => {
          for (const each of all) await run(each);
        });
        await scheduler.waitFor(Promise.all(users));
        later = () => Promise.resolve();
        for (const { cache, things } of servers) {
          nearHits += things.counts().nearHits;
          cache.close();
        }
      }),
      { numRuns: 150 },
    );
    // Copies have to be there, and be served, for this to show anything.
    expect(nearHits).toBeGreaterThan(100);
  },
);
