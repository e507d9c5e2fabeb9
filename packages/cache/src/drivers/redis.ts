import { CircuitBreaker, Commands, groupBySlot, type Near, type RedisClient, scanKeys } from "@lockstep/redis-kit";
import { tell } from "../events.ts";
import { type EntryKeys, type Keys, markPattern } from "../keys.ts";
import { beginWrite, dropEntries, endWrite, readEntries, storeEntries, sweepMarks } from "../scripts.ts";
import {
  type Driver,
  type DriverOptions,
  type EntryRules,
  type Fill,
  type FillResult,
  type PendingWrite,
  type ReadReply,
  breaker,
  failedFills,
  maxBatch,
  tokenIn,
} from "./driver.ts";
import { dangerToMarks } from "./epochs.ts";
import { dangerOfCopies } from "./foreign-copies.ts";
import { Hits } from "./hits.ts";
import { createTokens } from "./tokens.ts";
import { Trust } from "./trust.ts";

/** How many writes of one entry may be pending at a time. */
const maxPending = 256;

/** How many keys one step of a scan looks at. */
const scanBatch = 500;

/** The entries in Redis: every command that this package sends, each within its deadline and through one circuit breaker. */
export class RedisDriver implements Driver {
  readonly client: RedisClient;
  readonly #name: string;
  readonly commands: CircuitBreaker;
  readonly #trust: Trust;
  readonly #hits: Hits;
  readonly #newToken = createTokens();

  /** @param near this server's membership, where it keeps or revokes near copies */
  constructor(client: RedisClient, { name, deadlineMs, onEvent }: DriverOptions, near?: Near) {
    this.client = client;
    this.#name = name;
    this.commands = new CircuitBreaker(new Commands(client, { deadlineMs }), {
      ...breaker,
      onChange: (state) => {
        tell(onEvent, { type: "breaker", state });
      },
    });
    this.#trust = new Trust(this, {
      dangerOf: dangerToMarks,
      alsoLook: () => dangerOfCopies(this.commands, name, near),
      onEvent,
    });
    this.#hits = new Hits(client, this.commands);
  }

  async ready(): Promise<void> {
    await this.#trust.ready();
  }

  read<T extends { readonly keys: EntryKeys }>(items: readonly T[], rules: EntryRules) {
    const [first] = items;
    if (items.length === 1 && first !== undefined && this.#hits.mayAsk(rules)) {
      const replies = this.#hits
        .read(first.keys.entry, rules)
        .then((hit) => (hit ? [hit] : this.#readByScript([first.keys], rules)));
      return [{ items, replies }];
    }
    return this.#groups(items, ({ keys }) => keys.entry).map((group) => {
      const keys = group.map((item) => item.keys);
      return { items: group, replies: this.#readByScript(keys, rules) };
    });
  }

  async #readByScript(keys: readonly EntryKeys[], rules: EntryRules): Promise<readonly ReadReply[]> {
    const onLate = (replies: readonly ReadReply[]) => {
      this.#giveBack(keys, replies, rules);
    };
    const options = { token: this.#newToken(), epochAge: this.#trust.epochAge(rules.pendingMs), onLate };
    const told = this.#hits.expect();
    const { epoch, replies } = await readEntries(this.commands, keys, rules, options);
    try {
      // C8: what a server says is only believed once it is known to keep marks.
      await this.#trust.check(epoch);
    } catch (error) {
      this.#giveBack(keys, replies, rules);
      throw error;
    }
    told(epoch);
    return replies;
  }

  /** F3: tokens that came too late for their reader, or from a server that he may not believe. Until they lapsed others would wait for a load that nobody does. */
  #giveBack(keys: readonly EntryKeys[], replies: readonly ReadReply[], rules: EntryRules): void {
    const fills = keys.flatMap(({ entry }, index) => {
      const token = tokenIn(replies[index]);
      return token === undefined ? [] : [{ key: entry, token, result: "unused" as const }];
    });
    // Redis may not answer this either: then they lapse.
    void this.store(fills, rules);
  }

  async store(fills: readonly Fill[], rules: EntryRules) {
    const groups = this.#groups(fills, ({ key }) => key).map((group) =>
      storeEntries(this.commands, group, rules).then(
        (outcomes) => group.map((fill, index): FillResult => ({ fill, outcome: outcomes[index] ?? "refused" })),
        (error: unknown) => failedFills(group, error),
      ),
    );
    return (await Promise.all(groups)).flat();
  }

  async begin(keys: EntryKeys, { pendingMs }: EntryRules): Promise<PendingWrite | "crowded"> {
    const token = this.#newToken();
    const options = { token, pendingMs, epochAge: this.#trust.epochAge(pendingMs), maxPending };
    const { epoch, outcome } = await beginWrite(this.commands, keys, options);
    await this.#trust.check(epoch);
    return outcome === "crowded" ? "crowded" : { keys, token, epoch };
  }

  async end(
    { keys, token, epoch }: PendingWrite,
    value: { text: string; lifeMs: number } | undefined,
    { extraMs }: EntryRules,
  ) {
    const kept = value && { text: value.text, lifeMs: value.lifeMs + extraMs };
    return endWrite(this.commands, keys, { token, epoch, kept });
  }

  async drop(keys: readonly EntryKeys[]): Promise<void> {
    const groups = this.#groups(keys, ({ entry }) => entry);
    await Promise.all(groups.map((group) => dropEntries(this.commands, group)));
  }

  /** Those that are being loaded or written included. */
  async dropAll(collection: Keys): Promise<void> {
    // Twice: the scan may pass where an entry is not yet, the write that is pending then may end, and the scan pass where its mark
    // is no more. A write that ended before the first was over has its entry there throughout the second.
    for (let walk = 0; walk < 2; walk += 1) {
      for await (const found of this.#scan("the scan of a collection", `${collection.start}*`)) {
        await this.drop(found.map((key) => collection.owning(key)));
      }
    }
  }

  /** Deletes the marks that dead writers have left (C8). */
  async sweep(pause: () => Promise<void>): Promise<void> {
    for await (const marks of this.#scan("a sweep of marks", markPattern(this.#name))) {
      const groups = this.#groups(marks, (mark) => mark);
      await Promise.all(groups.map((group) => sweepMarks(this.commands, group)));
      await pause();
    }
  }

  close(): void {
    // Nothing runs here by itself.
  }

  #scan(what: string, pattern: string) {
    return scanKeys(this.commands, this.client, { what, pattern, batchSize: scanBatch });
  }

  #groups<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
    return groupBySlot(this.client, items, keyOf, maxBatch);
  }
}
