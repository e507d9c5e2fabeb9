import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Around, type Shared, interceptTier, openOn, setups } from "./harness/drivers.ts";
import { uniqueName } from "./harness/redis.ts";
import { Source } from "./harness/source.ts";

interface Step {
  readonly server: 0 | 1;
  readonly does: "get" | "getMany" | "update" | "change and invalidate";
  readonly id: "a" | "b";
}

const steps = fc.record<Step>({
  server: fc.constantFrom(0, 1),
  does: fc.constantFrom("get", "get", "get", "getMany", "update", "change and invalidate"),
  id: fc.constantFrom("a", "a", "a", "b"),
});
/** What several users do at the same time, each one thing after the other. */
const plans = fc.array(fc.array(steps, { minLength: 2, maxLength: 8 }), { minLength: 2, maxLength: 4 });
const policies = fc.constantFrom("write-through", "cache-aside");

// Each command of both servers, each load and each write waits until fast-check lets it go on: its seed replays a failure.
describe.each(setups)("on $name", ({ start }) => {
  let shared: Shared;
  beforeAll(async () => {
    shared = await start();
  });
  afterAll(() => shared.stop());

  it("G1: a read never gives less than what was acknowledged, or read, before it began, in whatever order things happen", async () => {
    const tiers = [shared.connect(), shared.connect()] as const;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), plans, policies, async (scheduler, plan, writePolicy) => {
        const name = uniqueName();
        const rows = new Map<string, number>();
        const later = (what: string) => scheduler.schedule(Promise.resolve(), what);
        const load = async (id: string) => {
          await later(`load of ${id} arrives`);
          const value = rows.get(id);
          await later(`load of ${id} returns`);
          return value;
        };
        const around: Around = async (send) => {
          await later("command arrives");
          const reply = await send();
          await later("reply returns");
          return reply;
        };
        const servers = tiers.map((tier) =>
          openOn(interceptTier(tier, around), new Source(), { name, load, writePolicy }),
        );
        // Versions count up. `seen` is the least that a read may give that begins now.
        const seen = new Map<string, number>();
        // What was changed past the cache may still be old for others, whoever has read it from the source: until it is invalidated.
        const unsettled = new Set<number>();
        const see = (id: string, version: number) => {
          if (!unsettled.has(version)) seen.set(id, Math.max(version, seen.get(id) ?? 0));
        };
        let version = 0;
        const write = async (id: string, isPast = false) => {
          await later(`write of ${id}`);
          version += 1;
          if (isPast) unsettled.add(version);
          rows.set(id, version);
          const written = version;
          await later(`write of ${id} returns`);
          return written;
        };
        const read = async (id: string, work: () => Promise<unknown>) => {
          const least = seen.get(id) ?? 0;
          const found = ((await work()) as number | undefined) ?? 0;
          expect(found).toBeGreaterThanOrEqual(least);
          return found;
        };
        const run = async ({ server, does, id }: Step) => {
          const things = servers[server]?.things;
          if (things === undefined) return;
          if (does === "get") see(id, await read(id, () => things.get(id)));
          if (does === "getMany") await read(id, async () => (await things.getMany(["b", "a", id]))[2]);
          if (does === "update") see(id, (await things.update(id, () => write(id))) as number);
          if (does === "change and invalidate") {
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
        for (const { cache } of servers) cache.close();
      }),
      { numRuns: 100 },
    );
  });
});
