import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Client } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { buildMutant } from "./harness/mutant.ts";
import { type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

/** Requests a second, whatever becomes of those before. */
const rate = 40;

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
let stack: Stack;
beforeAll(async () => {
  database = await startSharedDatabase();
  stack = await startStack({ sessionStack: "middleware", nearCopies: "on", databaseUrl: database.url });
});
afterAll(async () => {
  await stack.stop();
  await database.stop();
});

interface Person {
  readonly client: Client;
  readonly items: string[];
}

/** Requests that come at a fixed rate, each of the next person, and what became of them. */
class SteadyUse {
  readonly failures: string[] = [];
  requests = 0;
  readonly #people: readonly Person[];
  readonly #over = new AbortController();
  readonly #running: Promise<void>;

  private constructor(people: readonly Person[]) {
    this.#people = people;
    this.#running = this.#run();
  }

  static async start(): Promise<SteadyUse> {
    const people: Person[] = [];
    for (let number = 1; number <= 8; number += 1) {
      const client = new Client();
      const json = {
        username: `deploy-${number}-${process.pid}-${Math.floor(performance.now())}`,
        password: "of a throwaway person",
      };
      const { status } = await client.request("POST", `${stack.nginx}/api/sign-up`, { json });
      expect(status).toBe(201);
      people.push({ client, items: [] });
    }
    return new SteadyUse(people);
  }

  async end(): Promise<void> {
    this.#over.abort();
    await this.#running;
    for (const { client, items } of this.#people) {
      const { status, body } = await client.request("GET", `${stack.nginx}/api/cart`);
      expect(status).toBe(200);
      expect((body as { items: string[] }).items.toSorted()).toEqual(items.toSorted());
    }
  }

  async #run(): Promise<void> {
    const underWay: Promise<void>[] = [];
    const startedAt = performance.now();
    while (!this.#over.signal.aborted) {
      const person = this.#people[this.requests % this.#people.length];
      if (person !== undefined) underWay.push(this.#use(person, Math.floor(this.requests / this.#people.length)));
      this.requests += 1;
      await delay(Math.max(0, startedAt + (this.requests * 1_000) / rate - performance.now()));
    }
    await Promise.all(underWay);
  }

  async #use({ client, items }: Person, round: number): Promise<void> {
    const item = `item ${round}`;
    const paths = ["/api/cart", "/api/profile", "/api/me", "/api/people"];
    const isChange = round % 2 === 0;
    const answer = isChange
      ? client.request("POST", `${stack.nginx}/api/cart`, { json: { item } })
      : client.request("GET", `${stack.nginx}${paths[round % paths.length] ?? ""}`);
    try {
      const { status, text } = await answer;
      if (status < 300 && isChange) items.push(item);
      if (status >= 300) this.failures.push(`${status} ${text}`);
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}

describe("a rolling deploy under load", () => {
  const deploy = async (entry?: string) => {
    for (const number of [1, 2, 3]) {
      const stopping = performance.now();
      await stack.stopServer(number);
      expect(performance.now() - stopping).toBeLessThan(10_000);
      await stack.start(number, entry);
      const ready = async () => (await fetch(`${stack.server(number)}/readyz`)).ok;
      await eventually("the new server is ready", ready, { withinMs: 20_000, everyMs: 50 });
      // nginx leaves it out for a second after it was refused.
      await delay(1_200);
    }
  };

  test("fails no request and logs nobody out, while each server is stopped and started again", async () => {
    const use = await SteadyUse.start();
    await deploy();
    await use.end();
    expect(use.requests).toBeGreaterThan(rate * 5);
    expect(use.failures).toEqual([]);
  });

  test("from one version to the next and back neither, where the next keeps more with a session", async () => {
    const next = await buildMutant("session-store", {
      name: "the-next-version",
      file: "src/codec.ts",
      cut: "const start = meta ? `${ownStart}${JSON.stringify(meta)},`",
      instead: "const start = meta ? `${ownStart}${JSON.stringify({ ...meta, next: 1 })},`",
    });
    const use = await SteadyUse.start();
    await deploy(next);
    const records = await stack.redis.mget(await stack.redis.keys("sess:h:*"));
    expect(records.filter((record) => record?.includes('"next":1')).length).toBeGreaterThan(0);
    await deploy();
    await use.end();
    expect(use.failures).toEqual([]);
  });
});
