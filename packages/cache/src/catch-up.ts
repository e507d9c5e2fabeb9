import type { Driver } from "./drivers/driver.ts";
import type { EntryKeys } from "./keys.ts";
import { slicesOf } from "./slices.ts";

/** How many entries may be owed an invalidation before no write goes on that would owe another. */
const maxOwed = 10_000;

/** How many are paid at a time. */
const maxAtOnce = 128;

/** How long to wait before the shared tier is asked again. */
const pauseMs = 250;

/**
 * The entries that changed while their server was gone (`onUnavailable: "proceed"`): invalidated once it is back. Those of a
 * process that ends before are not.
 *
 * Each is paid for itself: one whose server stays away keeps no other owed, to be dropped for all servers again and again.
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

  /** Whether so many more can be owed. To be asked by who has not begun to write: what a write under way owes is always added. */
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
    let paid = 0;
    for (const some of slicesOf(due, maxAtOnce)) {
      const results = await Promise.all(some.map((keys) => this.#payOne(keys)));
      const paidNow = results.filter(Boolean).length;
      paid += paidNow;
      // All servers may be gone: the next round begins with others.
      if (paidNow === 0 || this.#isClosed) break;
    }
    if (paid > 0) this.#onDone(paid);
    this.#timer = undefined;
    if (this.#owed.size > 0) this.#schedule();
  }

  /** @returns whether its server was there */
  async #payOne(keys: EntryKeys): Promise<boolean> {
    const isPaid = await this.#driver.drop([keys]).then(
      () => true,
      // Its server is still gone, which the breaker has told of.
      () => false,
    );
    // By identity: one that was added again meanwhile is owed again.
    if (this.#owed.get(keys.entry) !== keys) return isPaid;
    this.#owed.delete(keys.entry);
    // Behind the others.
    if (!isPaid) this.#owed.set(keys.entry, keys);
    return isPaid;
  }
}
