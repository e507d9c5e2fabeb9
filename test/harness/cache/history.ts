import type { Value } from "../../../bench/peers/product.ts";
import type { CacheOnServer } from "./cache-server.ts";
import type { Random } from "./random.ts";
import type { Records } from "./records.ts";

/**
 * Judges every read that goes through it. A read is *stale* if it shows less than a write that had returned before the read
 * began (G1), on whatever server. It goes *backwards* if it shows less than a read that had ended before it began; that is
 * only asked of ids that nobody has changed past the cache, which can't know of such a change until it is invalidated.
 */
export class History {
  readonly #records: Records;
  readonly #written = new Map<string, number>();
  readonly #seen = new Map<string, number>();
  readonly #changedPast = new Set<string>();
  /** The id of each read that was stale, or went backwards, or both. */
  readonly violations: string[] = [];
  stale = 0;
  backwards = 0;
  reads = 0;
  writes = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  /** Reads several ids with getMany, one with get. */
  async read(cache: CacheOnServer, ...ids: readonly string[]): Promise<void> {
    const before = ids.map((id) => ({ written: this.#written.get(id) ?? 0, seen: this.#seen.get(id) ?? 0 }));
    const [first] = ids;
    const values = ids.length === 1 && first !== undefined ? [await cache.get(first)] : await cache.getMany(ids);
    for (const [index, id] of ids.entries()) {
      const shown = this.#records.commitOf(id, values[index]);
      this.reads += 1;
      const { written, seen } = before[index] ?? { written: 0, seen: 0 };
      if (shown < written) this.stale += 1;
      if (shown < seen) this.backwards += 1;
      if (shown < Math.max(written, seen)) this.violations.push(id);
      if (!this.#changedPast.has(id)) raise(this.#seen, id, shown);
    }
  }

  async update(cache: CacheOnServer, id: string): Promise<void> {
    const value = this.#records.nextValue();
    await cache.update(id, value);
    this.returned(id, value);
  }

  /** Changes the value past the cache, and invalidates it afterwards. */
  async changePast(cache: CacheOnServer, id: string): Promise<void> {
    this.#changedPast.add(id);
    this.#seen.delete(id);
    const value = this.#records.commit(id);
    await cache.invalidate(id);
    this.returned(id, value);
  }

  /** One or the other. */
  write(cache: CacheOnServer, id: string, random: Random): Promise<void> {
    return random() < 0.5 ? this.update(cache, id) : this.changePast(cache, id);
  }

  /** From now on a read that shows less than this write is stale. */
  returned(id: string, value: Value | undefined): void {
    this.writes += 1;
    raise(this.#written, id, this.#records.commitOf(id, value));
  }
}

function raise(marks: Map<string, number>, id: string, to: number): void {
  marks.set(id, Math.max(marks.get(id) ?? 0, to));
}
