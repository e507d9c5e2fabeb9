import { type Codec, CorruptRecord } from "./codec.ts";
import type { Events } from "./events.ts";
import { absoluteEnd, decideIdleMs } from "./expiry.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Records } from "./records.ts";

/** What the engine must know of a record that nobody has looked at: read without parsing it, where Lockstep wrote it (S5). */
export class RecordHeads {
  readonly #options: ResolvedOptions;
  readonly #codec: Codec;
  readonly #records: Records;
  readonly #events: Events;

  constructor(options: ResolvedOptions, parts: { codec: Codec; records: Records; events: Events }) {
    this.#options = options;
    this.#codec = parts.codec;
    this.#records = parts.records;
    this.#events = parts.events;
  }

  /** When the absolute limit ends it, ms on the wall clock; `undefined`: never. @throws CorruptRecord */
  endOf(text: string): number | undefined {
    const { absoluteMs } = this.#options;
    return absoluteMs === undefined ? undefined : absoluteEnd(this.#codec.head(text).created, absoluteMs);
  }

  /** Its idle limit in ms. @throws CorruptRecord */
  idleMsOf(text: string): number {
    const { originalMaxAge } = this.#codec.head(text);
    return decideIdleMs(this.#options.idleMs, originalMaxAge, () => this.#codec.decode(text).fields);
  }

  /** Whose it is, by the user's name in the index: nobody's where it can't be read. */
  userOf(raw: string, key: string): string | undefined {
    const owner = this.ownerOf(raw, key);
    return owner === "unreadable" ? undefined : (owner ?? undefined);
  }

  /** As {@link RecordHeads.userOf}, for who must tell what is nobody's from what can't be read here. */
  ownerOf(raw: string, key: string): string | null | undefined {
    if (!this.#options.userOf) return undefined;
    try {
      return this.#codec.head(this.#records.open(raw, key)).user;
    } catch {
      return "unreadable";
    }
  }

  /** S11: what can't be used is as if it were not there, and told. */
  unlessCorrupt<T>(decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      this.report(error);
      return undefined;
    }
  }

  /** @throws what is not the matter of one record */
  report(error: unknown): void {
    if (!(error instanceof CorruptRecord)) throw error;
    this.#events.report({ type: "corrupt", reason: error.message });
  }
}
