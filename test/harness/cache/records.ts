import type { Source, Value } from "../../../bench/peers/product.ts";
import { Barrier } from "./barrier.ts";

interface Load {
  readonly server: string;
  readonly ids: readonly string[];
}

/**
 * The system of record, in this process: it counts what is asked of it, knows in which order writes were committed, and
 * can hold a load between the reading of the value and its return.
 */
export class Records {
  readonly #values = new Map<string, Value>();
  /** For each id, its versions in the order of their commits. */
  readonly #commits = new Map<string, number[]>();
  readonly #loads = new Map<string, number>();
  readonly #heldLoads = new Map<string, Barrier>();
  readonly #heldSaves = new Map<string, Barrier>();
  readonly #beforeCommits = new Map<string, () => Promise<void>>();
  readonly #failures = new Map<string, Error>();
  readonly #inFlight = new Map<string, number>();
  readonly #pause: () => Promise<void>;
  #lastVersion = 0;
  /** How many values were read by loads, whatever the way. */
  loads = 0;
  saves = 0;
  /** The most loads (a loadMany is one) that any one server has had under way at once. */
  peakInFlight = 0;

  /** @param pause how long the source takes, before and after it reads or commits; not at all unless told */
  constructor(pause: () => Promise<void> = async () => undefined) {
    this.#pause = pause;
  }

  /** A value that no other write has, so that a read tells which write it shows. */
  nextValue(fields: Readonly<Record<string, unknown>> = {}): Value {
    this.#lastVersion += 1;
    return { ...fields, version: this.#lastVersion };
  }

  /** Commits at once, as a writer does who knows nothing of caches. */
  commit(id: string, value = this.nextValue()): Value {
    this.#values.set(id, value);
    const commits = this.#commits.get(id);
    if (commits === undefined) this.#commits.set(id, [value.version]);
    else commits.push(value.version);
    return value;
  }

  current(id: string): Value | undefined {
    return this.#values.get(id);
  }

  /** The place of a value among the commits of its id: 1 for the first, 0 for the value that was never there. */
  commitOf(id: string, value: Value | undefined): number {
    if (value === undefined) return 0;
    const commits = this.#commits.get(id) ?? [];
    const index = commits.lastIndexOf(value.version);
    if (index === -1) throw new Error("A read returned a value that was never committed.");
    return index + 1;
  }

  loadsOf(id: string): number {
    return this.#loads.get(id) ?? 0;
  }

  /** Loads of `id` that have read its value wait at this barrier before they return it. */
  holdLoads(id: string): Barrier {
    const barrier = new Barrier();
    this.#heldLoads.set(id, barrier);
    return barrier;
  }

  /** Loads of `id` that come from now on are not held; those that wait go on waiting. */
  holdNoMoreLoads(id: string): void {
    this.#heldLoads.delete(id);
  }

  /** What is done when a server wants to save `id` the next time, and is done before the commit. */
  beforeNextCommit(id: string, act: () => Promise<void>): void {
    this.#beforeCommits.set(id, act);
  }

  /** The next save of `id` waits at this barrier after its commit, before it returns. */
  holdNextSave(id: string): Barrier {
    const barrier = new Barrier();
    this.#heldSaves.set(id, barrier);
    return barrier;
  }

  /** The next load of `id` fails with this error, once it has passed its barrier. */
  failNextLoad(id: string, error: Error): void {
    this.#failures.set(id, error);
  }

  /** The source as one server reaches it. */
  sourceOf(server: string): Source {
    return {
      load: async (id) => (await this.#load({ server, ids: [id] })).get(id),
      loadMany: (ids) => this.#load({ server, ids }),
      save: async (id, value) => {
        this.saves += 1;
        await this.#pause();
        await taken(this.#beforeCommits, id)?.();
        this.commit(id, value);
        await taken(this.#heldSaves, id)?.pass(server);
        await this.#pause();
      },
    };
  }

  async #load({ server, ids }: Load): Promise<Map<string, Value>> {
    this.#count(server, ids);
    try {
      await this.#pause();
      const found = new Map<string, Value>();
      for (const id of ids) {
        const value = this.#values.get(id);
        if (value !== undefined) found.set(id, value);
      }
      await Promise.all(ids.map(async (id) => this.#heldLoads.get(id)?.pass(server)));
      await this.#pause();
      for (const id of ids) this.#failOnce(id);
      return found;
    } finally {
      this.#inFlight.set(server, (this.#inFlight.get(server) ?? 0) - 1);
    }
  }

  #count(server: string, ids: readonly string[]): void {
    this.loads += ids.length;
    for (const id of ids) this.#loads.set(id, this.loadsOf(id) + 1);
    const inFlight = (this.#inFlight.get(server) ?? 0) + 1;
    this.#inFlight.set(server, inFlight);
    this.peakInFlight = Math.max(this.peakInFlight, inFlight);
  }

  #failOnce(id: string): void {
    const error = taken(this.#failures, id);
    if (error !== undefined) throw error;
  }
}

/** What is there is taken once. */
function taken<T>(from: Map<string, T>, id: string): T | undefined {
  const found = from.get(id);
  from.delete(id);
  return found;
}
