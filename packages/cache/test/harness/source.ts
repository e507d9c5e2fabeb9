import { Barrier } from "../../../../test/harness/cache/barrier.ts";
import type { LoadContext } from "../../src/index.ts";

/** The system of record: a table, of which the tests know who has read what, and whose loads they can hold. */
export class Source {
  readonly rows: Map<string, unknown>;
  /** The ids of each load, in the order of their coming. */
  readonly loads: string[][] = [];
  /** How many loads ran at the same time, at most. */
  mostAtOnce = 0;
  #running = 0;
  #barrier: Barrier | undefined;

  constructor(rows: Readonly<Record<string, unknown>> = {}) {
    this.rows = new Map(Object.entries(rows));
  }

  readonly load = async (id: string, context: LoadContext): Promise<unknown> =>
    (await this.loadMany([id], context)).get(id);

  readonly loadMany = async (ids: readonly string[], { signal }: LoadContext): Promise<Map<string, unknown>> => {
    this.loads.push([...ids]);
    this.#running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#running);
    // Read first and held afterwards: what a slow loader brings may be old.
    const found = new Map(ids.flatMap((id) => (this.rows.has(id) ? [[id, this.rows.get(id)] as const] : [])));
    await this.#barrier?.pass(ids.join());
    this.#running -= 1;
    signal.throwIfAborted();
    return found;
  };

  /** From now on loads wait, when they have read, until the barrier is released. */
  hold(): Barrier {
    this.#barrier = new Barrier();
    return this.#barrier;
  }

  /** Later loads pass; those that are held stay so. */
  holdNoMore(): void {
    this.#barrier = undefined;
  }

  /** An update's write, done at once. */
  write(id: string, value: unknown): () => Promise<unknown> {
    return () => {
      if (value === undefined) this.rows.delete(id);
      else this.rows.set(id, value);
      return Promise.resolve(value);
    };
  }
}
