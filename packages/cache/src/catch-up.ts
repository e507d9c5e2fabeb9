import type { Driver } from "./drivers/driver.ts";
import type { EntryKeys } from "./keys.ts";

/** How many entries may be owed an invalidation. */
const maxOwed = 10_000;

/** How long to wait before Redis is asked again. */
const pauseMs = 250;

/**
 * The entries that changed while Redis was gone (`onUnavailable: "proceed"`): invalidated once it is back. Those of a
 * process that ends before are not.
 */
export class CatchUp {
  readonly #driver: Pick<Driver, "drop">;
  readonly #onDone: (count: number) => void;
  readonly #owed = new Map<string, EntryKeys>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param onDone told how many were invalidated */
  constructor(driver: Pick<Driver, "drop">, onDone: (count: number) => void) {
    this.#driver = driver;
    this.#onDone = onDone;
  }

  /** Whether so many more can be owed. */
  hasRoomFor(count: number): boolean {
    return this.#owed.size + count <= maxOwed;
  }

  /** Whether this entry may be old. */
  owes({ entry }: EntryKeys): boolean {
    return this.#owed.has(entry);
  }

  add(keys: EntryKeys): void {
    // A copy: see the identity below.
    this.#owed.set(keys.entry, { ...keys });
    if (this.#timer === undefined) this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#pay(), pauseMs).unref();
  }

  async #pay(): Promise<void> {
    const due = [...this.#owed.values()];
    try {
      await this.#driver.drop(due);
      // By identity: one that was added again meanwhile is owed again.
      for (const keys of due) if (this.#owed.get(keys.entry) === keys) this.#owed.delete(keys.entry);
      this.#onDone(due.length);
    } catch {
      // Redis is still gone, which the breaker has told of.
    }
    this.#timer = undefined;
    if (this.#owed.size > 0) this.#schedule();
  }
}
