import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { type NearCache, joinNearCache } from "@lockstep/near-cache";
import { Redis } from "ioredis";
import { expect, inject, onTestFinished } from "vitest";
import type { createCache } from "../../src/index.ts";
import { type Later, paced } from "./in-order.ts";
import { uniqueName, untilOldEnough } from "./redis.ts";
import { openServer } from "./server.ts";
import { Source } from "./source.ts";

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
const leaseMs = 2_000;

/** Copies of the packages, with a rule cut out; as they are unless told. */
export interface Packages {
  readonly create?: typeof createCache;
  readonly join?: typeof joinNearCache;
}

/** Three members of one group; what they send, and are told, waits for what `later` is at that moment. */
class PacedGroup {
  readonly members: readonly NearCache[];
  later: Later = () => Promise.resolve();

  private constructor(clients: readonly Redis[], members: readonly NearCache[]) {
    this.members = members;
    onTestFinished(async () => {
      await Promise.all(members.map((near) => near.close()));
      for (const client of clients) client.disconnect();
    });
  }

  static async join({ join = joinNearCache }: Packages): Promise<PacedGroup> {
    const name = uniqueName();
    const clients = Array.from({ length: 3 }, () => new Redis(inject("redisUrl"), { protocol: 2 }));
    const later: { now: Later } = { now: () => Promise.resolve() };
    const members = await Promise.all(
      clients.map((client) => join({ client: paced(client, (what) => later.now(what)), group: name, leaseMs })),
    );
    const group = new PacedGroup(clients, members);
    later.now = (what) => group.later(what);
    // C9: until then writes wait, and nothing is filled.
    await sleep(leaseMs * 1.05);
    for (const client of clients) await untilOldEnough(client, times.pendingMs);
    return group;
  }
}

/**
 * G1: a read never gives less than what was acknowledged, or read, before it began. Each command, reply, revocation, answer, load and
 * write waits until fast-check lets it go on: its seed replays a failure.
 *
 * @returns how many reads were answered from memory
 * @throws {Error} of fast-check, with the seed
 */
export async function checkInterleavings(packages: Packages, numRuns: number): Promise<number> {
  const group = await PacedGroup.join(packages);
  let nearHits = 0;
  const property = fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
    group.later = (what) => scheduler.schedule(Promise.resolve(), what);
    const table = new VersionedTable((what) => group.later(what));
    const name = uniqueName();
    const { create } = packages;
    const servers = group.members.map((near) =>
      openServer(new Source(), {
        ...{ near, client: near.client as Redis, name, load: table.load, ...times },
        ...(create && { create }),
      }),
    );
    try {
      const users = plan.map(async (all) => {
        for (const { server, does, id } of all) {
          const things = servers[server]?.things;
          if (things !== undefined) await table.use(things, does, id);
        }
      });
      await scheduler.waitFor(Promise.all(users));
    } finally {
      group.later = () => Promise.resolve();
      for (const { cache, things } of servers) {
        nearHits += things.counts().nearHits;
        cache.close();
      }
    }
  });
  // Mutants need no smallest example.
  await fc.assert(property, { numRuns, endOnFailure: packages.create !== undefined || packages.join !== undefined });
  return nearHits;
}

/** A source whose versions count up, and what was seen of it. */
class VersionedTable {
  readonly #rows = new Map<string, number>();
  /** The least that a read may give that begins now. */
  readonly #seen = new Map<string, number>();
  /** What was changed past the cache may be old for others, whoever has read it from the source: until it is invalidated. */
  readonly #unsettled = new Set<number>();
  readonly #later: Later;
  #version = 0;

  constructor(later: Later) {
    this.#later = later;
  }

  readonly load = async (id: string): Promise<unknown> => {
    await this.#later(`a load of ${id} arrives`);
    const value = this.#rows.get(id);
    await this.#later(`a load of ${id} returns`);
    return value;
  };

  async use(things: ReturnType<typeof openServer>["things"], does: Step["does"], id: string): Promise<void> {
    if (does === "get") {
      const least = this.#seen.get(id) ?? 0;
      const found = ((await things.get(id)) as number | undefined) ?? 0;
      expect(found).toBeGreaterThanOrEqual(least);
      this.#see(id, found);
    } else if (does === "update") {
      this.#see(id, (await things.update(id, () => this.#write(id))) as number);
    } else {
      const written = await this.#write(id, true);
      await things.invalidate(id);
      this.#unsettled.delete(written);
      this.#see(id, written);
    }
  }

  #see(id: string, version: number): void {
    if (!this.#unsettled.has(version)) this.#seen.set(id, Math.max(version, this.#seen.get(id) ?? 0));
  }

  async #write(id: string, isPast = false): Promise<number> {
    await this.#later(`a write of ${id}`);
    this.#version += 1;
    const written = this.#version;
    if (isPast) this.#unsettled.add(written);
    this.#rows.set(id, written);
    await this.#later(`a write of ${id} returns`);
    return written;
  }
}
