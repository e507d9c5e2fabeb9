import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Barrier } from "./harness/cache/barrier.ts";
import { pick, seedOfRun, seededRandom } from "./harness/cache/random.ts";
import { NumbersOfRecord, WriteBehindFleet, type WriteBehindServer } from "./harness/cache/write-behind-fleet.ts";
import { eventually } from "./harness/eventually.ts";

const times = { saveTimeoutMs: 500, flushAfterMs: 50, ttlMs: 200 };

/** A lease, and what it takes to notice that it has lapsed, on a busy machine. */
const takenOverWithinMs = 5_000;

let fleet: WriteBehindFleet;
let program: string;
beforeAll(async () => {
  fleet = await WriteBehindFleet.start({ longestLeaseMs: 1_000 });
  program = await WriteBehindFleet.build();
});
afterEach(() => fleet.killAll());
afterAll(() => fleet.stop());

function open(source: NumbersOfRecord, count: number, name = fleet.newName()): Promise<WriteBehindServer[]> {
  return fleet.startServers(program, source, count, { name, ...times });
}

async function untilSaved(server: WriteBehindServer): Promise<void> {
  await eventually("all rows are saved", async () => (await server.ask("backlog")).rows === 0, { withinMs: 20_000 });
}

describe("a server killed with SIGKILL", () => {
  it("loses no write that was accepted: another server saves it", async () => {
    const source = new NumbersOfRecord();
    const [writer, other] = (await open(source, 2)) as [WriteBehindServer, WriteBehindServer];
    const accepted = new Map<string, number>();
    const write = async (id: string) => {
      for (let n = 1; ; n += 1) {
        await writer.ask("set", id, n);
        accepted.set(id, n);
      }
    };
    const writing = Array.from({ length: 50 }, (_, index) => write(`id-${index}`).catch(() => undefined));
    await eventually(
      "each id was written several times",
      () => accepted.size === 50 && [...accepted.values()].every((n) => n > 5),
    );
    await writer.kill();
    await Promise.all(writing);
    await untilSaved(other);
    for (const [id, n] of accepted) {
      // The last write may have been accepted without its server living to tell.
      expect([n, n + 1]).toContain(source.valueOf(id));
      expect(await other.ask("get", id)).toBe(source.valueOf(id));
    }
    expect(source.backwards).toEqual([]);
  });

  it.each(["before", "after"] as const)(
    "in the middle of a save, %s the source has committed it: others take over, in bounded time and in order",
    async (moment) => {
      const source = new NumbersOfRecord();
      const servers = await open(source, 3);
      const held = new Barrier();
      source[moment] = held;
      await servers[0]?.ask("set", "a", 1);
      await held.arrivals(1);
      source[moment] = undefined;
      const flusher = servers.find(({ name }) => name === held.waiting[0]);
      const others = servers.filter((server) => server !== flusher) as [WriteBehindServer, WriteBehindServer];
      await others[0].ask("set", "a", 2);
      await flusher?.kill();
      const killedAt = performance.now();
      await eventually("another has saved it", () => source.valueOf("a") === 2);
      expect(performance.now() - killedAt).toBeLessThan(takenOverWithinMs);
      // What the dead server's statement does now, the deadline forbids.
      held.release();
      await untilSaved(others[1]);
      expect(source.valueOf("a")).toBe(2);
      expect(source.backwards).toEqual([]);
      expect(await others[1].ask("get", "a")).toBe(2);
    },
  );

  it("again and again, while others write: every increment counts, once", async () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    const source = new NumbersOfRecord();
    const name = fleet.newName();
    const servers = await open(source, 3, name);
    const ids = ["a", "b", "c", "d"];
    const sure = new Map(ids.map((id) => [id, 0]));
    const unsure = new Map(ids.map((id) => [id, 0]));
    let isOver = false;
    const use = async () => {
      while (!isOver) {
        const id = pick(ids, random);
        const counts = await pick(servers, random)
          .ask("increment", id)
          .then(
            () => sure,
            () => unsure,
          );
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    };
    const users = Array.from({ length: 6 }, use);
    for (let kill = 0; kill < 6; kill += 1) {
      const saves = source.savers.length;
      await eventually("some rows were saved", () => source.savers.length > saves + 3, { withinMs: takenOverWithinMs });
      const index = kill % servers.length;
      await servers[index]?.kill();
      [servers[index]] = (await open(source, 1, name)) as [WriteBehindServer];
    }
    isOver = true;
    await Promise.all(users);
    await untilSaved(servers[0] as WriteBehindServer);
    for (const id of ids) {
      expect(source.valueOf(id), `of ${id}, seed ${seed}`).toBeGreaterThanOrEqual(sure.get(id) ?? 0);
      expect(source.valueOf(id)).toBeLessThanOrEqual((sure.get(id) ?? 0) + (unsure.get(id) ?? 0));
    }
    expect(source.backwards).toEqual([]);
  });
});

describe("servers that are stopped in turn", () => {
  it("leave nothing behind if each drains", async () => {
    const source = new NumbersOfRecord();
    const servers = await open(source, 3);
    const ids = Array.from({ length: 60 }, (_, index) => `${index}`);
    for (const [index, server] of servers.entries()) {
      await Promise.all(ids.map((id) => server.ask("increment", id)));
      expect(await server.ask("drain", 10_000)).toBe(0);
      expect(ids.map((id) => source.valueOf(id))).toEqual(ids.map(() => index + 1));
      await server.kill();
    }
  });
});
