import fc from "fast-check";
import { expect, it } from "vitest";
import { intercept, testClient, uniqueName } from "./harness/redis.ts";
import { openServer, openWarmServer } from "./harness/server.ts";
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

// Each script of both servers, each load and each write waits until fast-check lets it go on: its seed replays a failure.
it("G1: a read never gives less than what was acknowledged, or read, before it began, in whatever order things happen", async () => {
  const { client } = await openWarmServer(new Source());
  const clients = [client, testClient()] as const;
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
      const servers = clients.map((each) => {
        const around = async (send: () => Promise<unknown>) => {
          await later("script arrives");
          const reply = await send();
          await later("reply returns");
          return reply;
        };
        return openServer(new Source(), { name, client: intercept(each, around), load, writePolicy });
      });
      // Versions count up. `seen` is the least that a read may give that begins now.
      const seen = new Map<string, number>();
      const see = (id: string, version: number) => seen.set(id, Math.max(version, seen.get(id) ?? 0));
      let version = 0;
      const write = async (id: string) => {
        await later(`write of ${id}`);
        version += 1;
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
          const written = await write(id);
          await things.invalidate(id);
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
