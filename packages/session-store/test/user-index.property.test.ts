import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { memoryRedis } from "../src/memory.ts";
import { scripts } from "../src/scripts.ts";
import type { Redis } from "ioredis";
import { age, loadScripts, starter } from "./harness/attacks.ts";
import { testClient } from "./harness/redis.ts";

// The scripts on rows of an index, and what stands for them in memory (S8).

const client = testClient();

beforeAll(() => loadScripts(client));

const names = ["a", "b", "c", "d"];
const row = fc.constantFrom(...names);
const origin = fc.option(row, { nil: "" });
const step = fc.oneof(
  fc.tuple(fc.constant("admit" as const), row, fc.constantFrom("1", "2", "3", "10000"), origin),
  fc.tuple(fc.constant("promote" as const), row, row),
  fc.tuple(fc.constant("trim" as const), row, fc.constantFrom("0", "0", "1000000"), origin),
  fc.tuple(fc.constant("lose" as const), row, origin),
  fc.tuple(fc.constant("age" as const)),
);

describe("S8: an index in memory", () => {
  it("answers as Redis does, and holds the same rows, whatever comes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const memory = memoryRedis();
        const key = `test:${randomUUID()}:h:user:ann`;
        const both = async (work: (one: typeof client) => Promise<unknown>) => [await work(client), await work(memory)];
        for (const [verb, ...args] of steps) {
          if (args[0] !== undefined && args[0] === args.at(-1)) continue; // nothing is a draft of itself
          if (verb === "age") {
            // As if long ago: the order stays.
            const rows = await client.zrange(key, 0, "-1");
            for (const [nth, member] of rows.entries()) {
              const score = member.includes("{") ? -1_000 + nth : 1 + nth;
              await both((one) => one.zadd(key, "XX", score, member));
            }
          } else if (verb === "lose") {
            const [lost = "", of = ""] = args;
            await both((one) => one.zrem(key, of === "" ? lost : `${lost}{${of}}`));
          } else {
            const [real, twin] = await both((one) => one.evalsha(scripts[verb].sha1, 1, key, ...args));
            const sorted = (reply: unknown) =>
              Array.isArray(reply) ? [reply[0], ...(reply.slice(1) as string[]).sort()] : reply;
            expect(sorted(twin)).toEqual(sorted(real));
          }
          const [held, twins] = await both((one) => one.zrange(key, 0, "-1"));
          // Drafts of one session are of one age, so they have no order.
          expect((twins as string[]).sort()).toEqual((held as string[]).sort());
        }
        await client.del(key);
      }),
      { numRuns: 600 },
    );
  }, 60_000);
});

/** Three servers whose commands come one at a time, in an order of the dice's; of some of them one command is the last. */
class Stage {
  readonly #dice: (sides: number) => number;
  readonly #waiting: (() => Promise<void>)[] = [];
  /** What came, for who has to understand a failure. */
  readonly log: string[] = [];

  constructor(dice: (sides: number) => number) {
    this.#dice = dice;
  }

  client(name: string, lastCommand: number): Redis {
    const names = new Set<PropertyKey>(["evalsha", "zadd", "zrem", "zrange"]);
    let count = 0;
    const come = async (send: () => Promise<unknown>, what: string) => {
      count += 1;
      this.log.push(`${name} ${count}: ${what}${count === lastCommand ? ", dies" : ""}`);
      if (count < lastCommand) return send();
      if (count === lastCommand && this.#dice(2) === 0) await send();
      throw new Error("Connection is closed.");
    };
    return new Proxy(client, {
      get: (target, verb) => {
        const value: unknown = Reflect.get(target, verb, target);
        if (!names.has(verb) || typeof value !== "function") return value;
        return (...args: unknown[]) =>
          new Promise((resolve, reject) => {
            const send = () => Reflect.apply(value, target, args) as Promise<unknown>;
            const what = `${String(verb)} ${args.join(" ").slice(0, 300)}`;
            this.#waiting.push(() => come(send, what).then(resolve, reject));
          });
      },
    });
  }

  /** @returns what became of each */
  async play(works: readonly (() => Promise<unknown>)[]): Promise<unknown[]> {
    let left = works.length;
    const outcomes = works.map((work) =>
      work()
        .catch((error: unknown) => error)
        .finally(() => (left -= 1)),
    );
    while (left > 0) {
      for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      const [next] = this.#waiting.splice(this.#dice(this.#waiting.length || 1), 1);
      await next?.();
    }
    return Promise.all(outcomes);
  }
}

/** Numbers below so many, the same for the same seed. */
function diceOf(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

describe("S7, S8: whatever the order in which the commands of three servers come,", () => {
  const deadlines = { commandDeadlineMs: 5_000, commitDeadlineMs: 10_000 };

  async function play(seed: number, { moves, dies, ends }: { moves: boolean; dies: boolean; ends: boolean }) {
    const dice = diceOf(seed);
    const stage = new Stage(dice);
    const first = starter(client)({ ids: moves ? "plain" : "hashed", ...deadlines });
    const { prefix } = first;
    for (const id of ["old", "desk"]) await first.create(id, { user: "ann" });
    const kinds = Array.from({ length: 2 + dice(3) }, () => dice(ends ? 8 : 5));
    // As many as there are, so that a row too many refuses or ends one.
    const phones = kinds.filter((kind) => kind === 4).length;
    const beyond = dice(2) === 0 ? "oldest" : "reject";
    const options = {
      prefix,
      ...deadlines,
      maxPerUser: { sessions: 2 + phones, beyond },
      ...(moves && { migrateFrom: "plain" as const }),
    } as const;
    const servers = [0, 1, 2].map((nth) =>
      starter(stage.client(`server ${nth}`, dies && nth < 2 ? 1 + dice(20) : Infinity))(options),
    );
    const reachable = ["old", "desk"];
    const works = kinds.map((kind, nth) => {
      const server = servers[dice(servers.length)];
      if (!server) throw new Error("no such server");
      const rotate = async (newId: string) => {
        const { tracked, fields } = await server.load("old");
        const rotated = await server.sessions.rotate(tracked, fields, { newId, graceMs: 60_000 });
        if (rotated) reachable.push(newId);
      };
      return async () => {
        if (kind < 3) await rotate(`new-${nth}`);
        if (kind === 2) await rotate(`newer-${nth}`);
        if (kind === 3) await server.change("old", { [`field-${nth}`]: nth });
        if (kind === 4) {
          reachable.push(`phone-${nth}`);
          await server.create(`phone-${nth}`, { user: "ann" });
        }
        if (kind === 5) await server.sessions.destroy("old");
        if (kind === 6) await server.sessions.destroyForUser("ann");
        if (kind === 7) await server.sessions.destroyForUser("ann", { except: "old" });
      };
    });
    const outcomes = await stage.play(works);
    const told = () => [`seed ${seed}`, ...stage.log, ...outcomes.map(String)].join("\n");
    const fresh = starter(client)(options);
    const living = new Set<string>();
    for (const id of reachable) {
      const tracked = await fresh.sessions.load(id);
      if (tracked?.base) living.add(fresh.sessions.handleOf(tracked.base.id));
      const isMeant = kinds.includes(6) || (id === "desk" ? kinds.includes(7) : kinds.includes(5));
      if (!isMeant && (id === "old" || id === "desk")) expect(tracked, `${id} has ended\n${told()}`).toBeDefined();
    }
    const listed = (await fresh.sessions.listForUser("ann")).map(({ handle }) => handle);
    // What a server that died has left behind may be listed in a session's stead, or for it.
    if (!dies) expect(new Set(listed), told()).toEqual(living);
    if (!ends) expect(listed, told()).toHaveLength(living.size);
    if (!ends) expect(outcomes.map(String).join(), told()).not.toContain("as many sessions as are allowed");
    await fresh.sessions.destroyForUser("ann");
    for (const id of reachable) expect(await fresh.sessions.load(id), `${id} has survived\n${told()}`).toBeUndefined();
    await age(client, prefix);
    const strict = starter(client)({ ...options, maxPerUser: { sessions: 1, beyond: "reject" } });
    expect(await strict.create("again", { user: "ann" }).catch(String), told()).toBe("stored");
    for (const { sessions } of [first, ...servers, fresh, strict]) sessions.close();
  }

  const cases = [false, true].flatMap((moves) =>
    [false, true].flatMap((dies) => [false, true].map((ends) => ({ moves, dies, ends }))),
  );

  it.each(cases)(
    "none is lost, none survives, none counts twice: %o",
    async (kind) => {
      const runs = 25;
      for (let seed = 1; seed <= runs; seed += 1) await play(seed, kind);
    },
    60_000,
  );
});
