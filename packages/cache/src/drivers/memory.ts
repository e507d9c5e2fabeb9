import type { EntryKeys, Keys } from "../keys.ts";
import type { Driver, EntryRules, Fill, PendingWrite } from "./driver.ts";
import type { Item } from "./items.ts";
import type { MemoryItems } from "./memory-items.ts";
import { Sightings } from "./sightings.ts";
import { createTokens } from "./tokens.ts";
import { type Moment, type Transition, beginItem, dropItem, endItem, readItem, storeItem } from "./transitions.ts";

/** The entries in this process' memory, by the same rules: nothing comes between the look at an item and its change. */
export class MemoryDriver implements Driver {
  readonly #memory: MemoryItems;
  readonly #sightings = new Sightings();
  readonly #newToken = createTokens();

  constructor(memory: MemoryItems) {
    this.#memory = memory;
  }

  async ready(): Promise<void> {
    // It is.
  }

  read<T extends { readonly keys: EntryKeys }>(items: readonly T[], rules: EntryRules) {
    const replies = this.#memory.run(() =>
      items.map(({ keys }) =>
        this.#change(keys.entry, (item, moment) => readItem(item, { token: this.#newToken(), rules }, moment)),
      ),
    );
    return [{ items, replies }];
  }

  store(fills: readonly Fill[], rules: EntryRules) {
    return this.#memory.run(() =>
      fills.map((fill) => ({
        fill,
        outcome: this.#change(fill.key, (item, moment) => storeItem(item, fill, rules, moment)),
      })),
    );
  }

  begin(keys: EntryKeys, rules: EntryRules): Promise<PendingWrite | "crowded"> {
    return this.#memory.run(() => {
      if (!this.#memory.hasRoom()) return "crowded";
      const token = this.#newToken();
      this.#change(keys.entry, (item, moment) => beginItem(item, token, rules, moment));
      return { keys, token, epoch: "" };
    });
  }

  end({ keys, token }: PendingWrite, value: { text: string; lifeMs: number } | undefined, rules: EntryRules) {
    return this.#memory.run(() =>
      this.#change(keys.entry, (item, moment) => endItem(item, { token, value }, rules, moment)),
    );
  }

  drop(keys: readonly EntryKeys[]): Promise<void> {
    return this.#memory.run(() => {
      for (const { entry } of keys) this.#change(entry, dropItem);
    });
  }

  dropAll({ start }: Keys): Promise<void> {
    return this.#memory.run(() => {
      for (const key of this.#memory.keys()) if (key.startsWith(start)) this.#change(key, dropItem);
    });
  }

  sweep(): Promise<void> {
    return this.#memory.run(() => {
      this.#memory.sweep();
    });
  }

  close(): void {
    // Nothing runs here by itself.
  }

  #change<R>(key: string, step: (item: Item | undefined, moment: Moment) => Transition<R>): R {
    const moment = { now: Math.floor(performance.now()), hasLapsed: this.#sightings.hasLapsed };
    const { reply, next } = step(this.#memory.get(key), moment);
    if (next !== undefined) this.#memory.put(key, next);
    return reply;
  }
}
