import { LRUCache } from "lru-cache";
import type { Item } from "./items.ts";
import type { NextItem } from "./transitions.ts";

/** What a unit test's caches share in place of a Redis. */
export interface Memory {
  /** How many entries and marks it holds, lapsed ones that nobody has asked for included. */
  readonly size: number;
}

/** How many marks of pending writes are kept. Beyond them no write begins. */
const maxMarks = 10_000;

interface Kept {
  readonly item: Item;
  /** On the clock of `performance.now()`. */
  readonly endsAt: number;
}

/** Items in this process. What is over goes when somebody asks for it: no timer is left behind. */
export class MemoryItems implements Memory {
  readonly #entries: LRUCache<string, Kept>;
  /** Apart from the entries, whose number pushes out the oldest: a mark that goes early lets an old value be filled. */
  readonly #marks = new Map<string, Kept>();

  constructor({ maxEntries }: { maxEntries: number }) {
    this.#entries = new LRUCache({ max: maxEntries });
  }

  get size(): number {
    return this.#entries.size + this.#marks.size;
  }

  /** Does the work after the caller's turn, as a server would. */
  async run<T>(work: () => T): Promise<T> {
    await Promise.resolve();
    return work();
  }

  get(key: string): Item | undefined {
    const kept = this.#marks.get(key) ?? this.#entries.get(key);
    if (kept === undefined || performance.now() < kept.endsAt) return kept?.item;
    this.put(key, "gone");
    return undefined;
  }

  put(key: string, next: NextItem | "gone"): void {
    this.#marks.delete(key);
    this.#entries.delete(key);
    if (next === "gone") return;
    const kept = { item: next.item, endsAt: performance.now() + next.lifeMs };
    if (next.item.kind === "pending") this.#marks.set(key, kept);
    else this.#entries.set(key, kept);
  }

  /** Whether there is room for one more mark. */
  hasRoom(): boolean {
    if (this.#marks.size >= maxMarks) this.sweep();
    return this.#marks.size < maxMarks;
  }

  keys(): string[] {
    return [...this.#entries.keys(), ...this.#marks.keys()];
  }

  /** Drops the marks that have lapsed. */
  sweep(): void {
    for (const key of [...this.#marks.keys()]) this.get(key);
  }
}

/**
 * Memory in place of a Redis, for unit tests: `createCache({ memory: createMemory(), … })`. Caches on one memory share it as servers
 * share a Redis; other processes don't.
 *
 * @param options `maxEntries`: beyond so many the one that was used longest ago goes; default 10,000
 */
export function createMemory({ maxEntries = 10_000 }: { maxEntries?: number } = {}): Memory {
  if (!Number.isSafeInteger(maxEntries) || maxEntries <= 0) {
    throw new TypeError("Lockstep cache: maxEntries must be a whole number above 0.");
  }
  return new MemoryItems({ maxEntries });
}
