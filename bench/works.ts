import { setImmediate } from "node:timers/promises";
import type { CacheClient, Source, Value } from "./peers/product.ts";

/** The database of the benchmark: answers at once, with values of one size, and counts how often it is asked. */
export class CountingSource implements Source {
  loads = 0;
  readonly #template: Value;
  readonly #saved = new Map<string, Value>();

  constructor(template: Value) {
    this.#template = template;
  }

  valueOf(id: string): Value {
    return this.#saved.get(id) ?? { ...this.#template, id };
  }

  async load(id: string): Promise<Value> {
    this.loads += 1;
    return this.valueOf(id);
  }

  async loadMany(ids: readonly string[]): Promise<ReadonlyMap<string, Value>> {
    this.loads += ids.length;
    return new Map(ids.map((id) => [id, this.valueOf(id)]));
  }

  async save(id: string, value: Value): Promise<void> {
    this.#saved.set(id, value);
  }
}

export interface Work {
  /** How many values one call reads or writes; `ids` are as many, or fewer where the values are large. */
  readonly operationsPerCall: number;
  /** Whether the time of a call is a figure of its own. */
  readonly timed: boolean;
  /** Whether everything read is in the cache before, so that a load in a round is an error. */
  readonly hits: boolean;
  call(client: CacheClient, source: CountingSource, ids: readonly string[], number: number): Promise<void>;
}

/** What is done again and again in a line of the table. `ids` are in the cache; `number` is never used twice in one client. */
export const works = {
  get: {
    operationsPerCall: 1,
    timed: true,
    hits: true,
    call: async (client, _source, ids, number) => {
      requireAll([await client.get(nth(ids, number))]);
    },
  },
  getsInOneTick: {
    operationsPerCall: 100,
    timed: true,
    hits: true,
    call: async (client, _source, ids) => {
      requireAll(await Promise.all(ids.map((id) => client.get(id))));
    },
  },
  getMany: {
    operationsPerCall: 100,
    timed: true,
    hits: true,
    call: async (client, _source, ids) => {
      requireAll(await client.getMany(ids));
    },
  },
  // So short that reading the clock around each would count, and that nothing else would ever get its turn.
  getInProcess: {
    operationsPerCall: 1000,
    timed: false,
    hits: true,
    call: async (client, _source, ids) => {
      for (let number = 0; number < 1000; number += 1) {
        if ((await client.get(nth(ids, number))) === undefined) requireAll([undefined]);
      }
      await setImmediate();
    },
  },
  fill: {
    operationsPerCall: 1,
    timed: true,
    hits: false,
    call: async (client, _source, _ids, number) => {
      requireAll([await client.get(`new-${number}`)]);
    },
  },
  update: {
    operationsPerCall: 1,
    timed: true,
    hits: false,
    call: async (client, source, ids, number) => {
      const id = nth(ids, number);
      await client.update(id, { ...source.valueOf(id), version: number });
    },
  },
} satisfies Record<string, Work>;

export type WorkName = keyof typeof works;

function nth(ids: readonly string[], number: number): string {
  return ids[number % ids.length] ?? "";
}

function requireAll(values: readonly (Value | undefined)[]): void {
  if (values.includes(undefined)) throw new Error("A value that the source has was not returned.");
}
