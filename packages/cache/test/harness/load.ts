import { setImmediate as turn } from "node:timers/promises";
import type { CacheError, Collection } from "../../src/index.ts";
import { History } from "./history.ts";
import type { Source } from "./source.ts";

/** Reads and updates of some ids, one after the other, until they are stopped: no read may fail or give what was replaced. */
export class Load {
  readonly #server: { readonly things: Collection<unknown>; readonly source: Source };
  readonly #histories: ReadonlyMap<string, History>;
  readonly #done: Promise<void>;
  #isStopped = false;
  /** The newest value that a write was begun with, of all ids. */
  #newest = 0;
  /** How often all ids were read. */
  rounds = 0;
  updates = 0;
  /** The codes of the updates that were refused. */
  readonly refusals: string[] = [];

  constructor(server: { readonly things: Collection<unknown>; readonly source: Source }, ids: readonly string[]) {
    this.#server = server;
    this.#histories = new Map(ids.map((id) => [id, new History()]));
    for (const id of ids) server.source.rows.set(id, 0);
    this.#done = this.#run();
    // Whoever stops it is told.
    this.#done.catch(() => undefined);
  }

  /** Ends it. @throws what a read threw, or what it gave that was old */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    const ids = [...this.#histories.keys()];
    while (!this.#isStopped) {
      const sentAt = performance.now();
      const reads = this.#server.things.getMany(ids);
      // While they are under way.
      const update = this.#update(ids[this.rounds % ids.length] ?? "");
      const values = await reads;
      ids.forEach((id, index) => this.#histories.get(id)?.expectRecent(values[index], sentAt));
      await update;
      this.rounds += 1;
      await turn();
    }
  }

  async #update(id: string): Promise<void> {
    const { things, source } = this.#server;
    this.#newest += 1;
    const value = this.#newest;
    const done = { isWritten: false };
    const write = source.write(id, value);
    try {
      await things.update(id, () => {
        done.isWritten = true;
        return write();
      });
      this.#histories.get(id)?.acknowledged(value);
      this.updates += 1;
    } catch (error) {
      // Refused cleanly: the source has not been touched.
      if (done.isWritten) throw error;
      this.refusals.push((error as CacheError).code);
    }
  }
}
