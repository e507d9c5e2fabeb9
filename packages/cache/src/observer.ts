import { isDeepStrictEqual } from "node:util";
import { decode, encode } from "./codec.ts";
import { Counts } from "./counts.ts";
import { tokenIn } from "./drivers/driver.ts";
import type { EntryKeys } from "./keys.ts";
import type { Disagreement, ObserveOptions } from "./options.ts";
import type { CollectionParts } from "./parts.ts";
import type { Lookup } from "./reader.ts";
import { SourceLoads } from "./source-loads.ts";

/** How often source and entry are asked again before a disagreement is believed. */
const rounds = 3;

/** `moved`: a write explains it. */
type Finding = "agreed" | "moved" | Disagreement<unknown>["cause"];

/**
 * Compares a sample of what reads were given with the source (F13), one at a time, behind the reader's back. What a write
 * that came between explains is no disagreement.
 */
export class Observer<T, Id> {
  readonly #parts: CollectionParts<T, Id>;
  readonly #options: ObserveOptions<Id>;
  readonly #source: SourceLoads<T, Id>;
  #isBusy = false;

  constructor(parts: CollectionParts<T, Id>, options: ObserveOptions<Id>) {
    this.#parts = parts;
    this.#options = options;
    // Of its own, and with counts of its own: its loads are nobody's reads.
    const loading = { ...parts.options, maxSourceConcurrency: 1, maxSourceQueue: 1 };
    this.#source = new SourceLoads(loading, new Counts({ cache: "", type: "" }));
  }

  /** Takes a read for the sample, or does not. */
  see(keys: EntryKeys, id: Id, { value, from, expired }: Lookup<T>): void {
    if (from === "source" || expired !== undefined || this.#isBusy || Math.random() >= this.#options.rate) return;
    this.#isBusy = true;
    void this.#compare(keys, id, { value, isCopy: from === "near" })
      .catch((error: unknown) => {
        this.#parts.tell({ type: "observation-failed", error });
      })
      .finally(() => {
        this.#isBusy = false;
      });
  }

  async #compare(keys: EntryKeys, id: Id, given: { value: unknown; isCopy: boolean }): Promise<void> {
    const { counts, tell } = this.#parts;
    const finding = await this.#find(keys, id, given);
    counts.add("observed");
    if (finding === "agreed" || finding === "moved") return;
    counts.add(finding === "copy" ? "staleCopies" : "staleEntries");
    tell({ type: "disagreement", cause: finding });
    await this.#options.onDisagreement?.({ id, cause: finding });
  }

  async #find(keys: EntryKeys, id: Id, { value, isCopy }: { value: unknown; isCopy: boolean }): Promise<Finding> {
    let finding: Finding = "agreed";
    for (let round = 0; round < rounds; round += 1) {
      // In this order: a write that the source has shown took the entry away before.
      const loaded = decode(encode(await this.#source.load(keys.entry, id), this.#parts.rules.revision));
      if (isDeepStrictEqual(loaded, value)) return "agreed";
      const entry = await this.#entryOf(keys);
      if (entry !== undefined && isDeepStrictEqual(entry.value, value)) finding = "entry";
      else if (isCopy && this.#isStillCopied(keys, value)) finding = "copy";
      else return "moved";
    }
    return finding;
  }

  /** What the shared tier has; `undefined`: nothing that could be served. */
  async #entryOf(keys: EntryKeys): Promise<{ value: unknown } | undefined> {
    const { driver, rules } = this.#parts;
    const [group] = driver.read([{ keys }], rules);
    const [reply] = (await group?.replies) ?? [];
    if (reply?.outcome === "hit") return { value: decode(reply.text) };
    // Nobody here is going to load it. Where its server does not answer, the token lapses.
    const token = tokenIn(reply);
    if (token !== undefined) await driver.store([{ key: keys.entry, token, result: "unused" }], rules);
    return undefined;
  }

  #isStillCopied({ entry }: EntryKeys, value: unknown): boolean {
    const copy = this.#parts.copies?.get(entry);
    return copy !== undefined && isDeepStrictEqual(copy.value, value);
  }
}
