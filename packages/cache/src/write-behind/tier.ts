import { groupBySlot } from "@lockstep/redis-kit";
import {
  type Driver,
  type EntryRules,
  type Fill,
  type FillOutcome,
  type ReadReply,
  maxBatch,
  tokenIn,
} from "../drivers/driver.ts";
import type { EntryKeys } from "../keys.ts";
import { readRows, storeRows } from "../queue-scripts.ts";
import type { Shared } from "./shared.ts";

/** The entries of write-behind collections, as a reader sees them. */
export class QueueTier implements Pick<Driver, "read" | "store"> {
  readonly #shared: Shared;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  read<T extends { readonly keys: EntryKeys }>(items: readonly T[], { tokenLifeMs }: EntryRules) {
    const { commands, newToken } = this.#shared;
    return this.#groups(items, ({ keys }) => keys.entry).map((group) => {
      const keys = group.map((item) => item.keys);
      const onLate = (replies: readonly ReadReply[]) => {
        this.#giveBack(keys, replies);
      };
      const read = readRows(commands, keys, { token: newToken(), tokenLifeMs, onLate });
      return { items: group, replies: this.#trusted(keys, read) };
    });
  }

  async store(fills: readonly Fill[]) {
    const groups = this.#groups(fills, ({ key }) => key).map(async (group) => {
      const outcomes = await storeRows(this.#shared.commands, group);
      return group.map((fill, index) => ({ fill, outcome: outcomes[index] ?? ("refused" satisfies FillOutcome) }));
    });
    return (await Promise.all(groups)).flat();
  }

  async #trusted(
    keys: readonly EntryKeys[],
    read: Promise<{ epoch: string; replies: ReadReply[] }>,
  ): Promise<readonly ReadReply[]> {
    const { epoch, replies } = await read;
    try {
      await this.#shared.trust.check(epoch);
    } catch (error) {
      this.#giveBack(keys, replies);
      throw error;
    }
    return replies;
  }

  /** F3: tokens that came too late for their reader, or from a server that he may not believe. Until they lapsed others would wait for a load that nobody does. */
  #giveBack(keys: readonly EntryKeys[], replies: readonly ReadReply[]): void {
    const fills = keys.flatMap(({ entry }, index) => {
      const token = tokenIn(replies[index]);
      return token === undefined ? [] : [{ key: entry, token, result: "unused" as const }];
    });
    // Redis does not answer this either: then they lapse.
    this.store(fills).catch(() => undefined);
  }

  #groups<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
    return groupBySlot(this.#shared.client, items, keyOf, maxBatch);
  }
}
