import type { Redis } from "ioredis";
import { expect, it } from "vitest";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import { SessionStoreError } from "../src/index.ts";
import { type NearEngine, after, openGroup, until } from "./harness/near.ts";

const runMs = 2_000;

/**
 * Each writer adds items of its own to a list that is merged, and notes those that are stored; each reader checks that it sees all that were
 * noted before it began to read.
 */
class History {
  readonly #stored = new Set<string>();
  #reads = 0;
  #failures = 0;
  #isOver = false;

  async write(engine: NearEngine, name: string): Promise<void> {
    for (let count = 0; !this.#isOver; count += 1) {
      const item = `${name}-${count}`;
      try {
        const { tracked, fields } = await engine.load("a");
        await engine.sessions.commit(tracked, { ...fields, items: [...(fields.items as string[]), item] });
        this.#stored.add(item);
      } catch (error) {
        if (!(error instanceof SessionStoreError)) throw error;
        this.#failures += 1;
        await after(5);
      }
      await after(20 * Math.random());
    }
  }

  async read(engine: NearEngine): Promise<void> {
    while (!this.#isOver) {
      const before = [...this.#stored];
      const { items } = (await engine.load("a")).fields;
      const seen = new Set(items as string[]);
      expect(before.filter((item) => !seen.has(item))).toEqual([]);
      this.#reads += 1;
      // Also where it is answered from memory others have their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async run(engines: readonly NearEngine[], disturb: () => Promise<unknown>) {
    const work = engines.flatMap((engine, index) => [
      this.write(engine, String(index)),
      this.read(engine),
      this.read(engine),
    ]);
    const all = Promise.all(work);
    const end = performance.now() + runMs;
    while (performance.now() < end) {
      await Promise.race([disturb().then(() => after(150)), all]);
    }
    this.#isOver = true;
    await all;
    return { stored: this.#stored.size, reads: this.#reads, failures: this.#failures };
  }
}

async function cutInboxes(client: Redis): Promise<void> {
  await client.call("CLIENT", "KILL", "TYPE", "pubsub");
}

it.each(["nothing goes wrong", "connections to the group are cut"])(
  "what has been stored is seen by every read that begins later, on three servers, where %s",
  async (trouble) => {
    const { port } = await startOwnRedis();
    const clients = [connect(port), connect(port), connect(port)] as const;
    const engines = await openGroup(clients, { maxBytes: 1_000_000 });
    await engines[0]?.create("a", { items: [] });
    const isCut = trouble !== "nothing goes wrong";
    const result = await new History().run(engines, () => (isCut ? cutInboxes(clients[0]) : Promise.resolve()));
    expect(result.stored).toBeGreaterThan(isCut ? 0 : 5);
    const hits = engines.map(({ sessions }) => sessions.counts()["near-hit"]);
    for (const count of hits) expect(count).toBeGreaterThan(0);
    await until(() => expect(engines.every(({ near }) => near.mayServe())).toBe(true));
  },
);
