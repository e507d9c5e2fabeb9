import type { Barrier } from "../../../../test/harness/cache/barrier.ts";
import type { Row, WriteContext } from "../../src/index.ts";

/** The system of record behind a write-behind collection: what was saved, in which order, and what it refuses. */
export class Ledger<T = unknown> {
  readonly rows = new Map<string, { readonly value: T | undefined; readonly version: number }>();
  /** The ids of each batch that came, in the order of their coming. */
  readonly batches: string[][] = [];
  readonly loads: string[] = [];
  /** Ids of which an older version was saved after a newer one. */
  readonly backwards: string[] = [];
  /** Batches with one of these fail. */
  readonly poison = new Set<string>();
  #state: "up" | "throws" | "hangs" = "up";
  #before: Barrier | undefined;
  #after: Barrier | undefined;

  readonly load = async (id: string): Promise<T | undefined> => {
    this.loads.push(id);
    if (this.#state !== "up") throw new Error("The source is down.");
    return this.rows.get(id)?.value;
  };

  readonly save = async (batch: readonly Row<T>[], { signal }: WriteContext): Promise<void> => {
    this.batches.push(batch.map(({ id }) => id));
    await this.#before?.pass("save");
    if (this.#state === "throws") throw new Error("The source is down.");
    if (this.#state === "hangs") await new Promise((_, reject) => signal.addEventListener("abort", reject));
    signal.throwIfAborted();
    if (batch.some(({ id }) => this.poison.has(id))) throw new Error("The source refuses a row.");
    for (const { id, value, version } of batch) {
      if (version < (this.rows.get(id)?.version ?? 0)) this.backwards.push(id);
      this.rows.set(id, { value: value, version });
    }
    await this.#after?.pass("save");
  };

  /** From now on the source is up, refuses, or does not answer. */
  turn(state: "up" | "throws" | "hangs"): void {
    this.#state = state;
  }

  /** From now on saves wait, before or after their commit. */
  hold(barriers: { readonly before?: Barrier; readonly after?: Barrier }): void {
    this.#before = barriers.before;
    this.#after = barriers.after;
  }

  valueOf(id: string): T | undefined {
    return this.rows.get(id)?.value;
  }
}
