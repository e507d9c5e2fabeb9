import { randomBytes } from "node:crypto";
import { CircuitBreaker, Commands, groupBySlot, type RedisClient, scanKeys } from "@lockstep/redis-kit";
import { Epochs } from "./epochs.ts";
import { CacheError } from "./errors.ts";
import { type CacheEvent, tell } from "./events.ts";
import { type EntryKeys, type Keys, markPattern } from "./keys.ts";
import { clockDrift, type ResolvedCacheOptions } from "./options.ts";
import {
  type EpochAge,
  type Fill,
  type ReadReply,
  beginWrite,
  dropEntries,
  endWrite,
  readEntries,
  storeEntries,
  sweepMarks,
} from "./scripts.ts";

/** After so many failures in a row Redis is left alone for so long. */
const breaker = { failures: 5, breakMs: 1_000 };

/** How many entries one script handles: a script holds up everybody else's commands. */
const maxBatch = 128;

/** How many writes of one entry may be pending at a time. */
const maxPending = 256;

/** How long a Redis that was found unsafe is left alone before it is looked at again. */
const lookAgainMs = 5_000;

/** How many keys one step of a scan looks at. */
const scanBatch = 500;

/** The entries in Redis: every command that this package sends, each within its deadline and through one circuit breaker. */
export class Entries {
  readonly #client: RedisClient;
  readonly #name: string;
  readonly #commands: CircuitBreaker;
  readonly #epochs: Epochs;
  readonly #onEvent: ((event: CacheEvent) => void) | undefined;
  readonly #tokenStart = randomBytes(9).toString("base64url");
  #tokens = 0;
  #looking: Promise<CacheError | undefined> | undefined;
  #lookAgainAt = 0;
  /** The danger told of last: each is told once, however often somebody looks. */
  #told: CacheError | undefined;

  constructor({ client, name, deadlineMs, onEvent }: ResolvedCacheOptions) {
    this.#client = client;
    this.#name = name;
    this.#onEvent = onEvent;
    this.#epochs = new Epochs(client);
    this.#commands = new CircuitBreaker(new Commands(client, { deadlineMs }), {
      ...breaker,
      onChange: (state) => {
        tell(onEvent, { type: "breaker", state });
      },
    });
  }

  /**
   * Looks whether Redis can be used, before anybody asks for an entry.
   *
   * @throws {@link CacheError} `UNSAFE_REDIS` @throws CommandError
   */
  async ready(): Promise<void> {
    const danger = await this.#look();
    if (danger !== undefined) throw danger;
  }

  /**
   * Reads entries by as few scripts as slots and {@link maxBatch} allow, all sent at once. Each group may fail by itself.
   *
   * @param pendingMs how old the epoch must be for fills
   */
  read<T extends { readonly keys: EntryKeys }>(
    items: readonly T[],
    { tokenLifeMs, pendingMs }: { tokenLifeMs: number; pendingMs: number },
  ): { items: readonly T[]; replies: Promise<readonly ReadReply[]> }[] {
    const epochAge = this.#epochAge(pendingMs);
    return this.#groups(items, ({ keys }) => keys.entry).map((group) => {
      const keys = group.map((item) => item.keys);
      const onLate = (replies: readonly ReadReply[]) => {
        this.#giveBack(keys, replies);
      };
      const options = { token: this.#newToken(), tokenLifeMs, epochAge, onLate };
      const read = this.#trusted(readEntries(this.#commands, keys, options));
      return { items: group, replies: read.then(({ replies }) => replies) };
    });
  }

  /** F3: tokens that came too late for their reader. Until they lapsed others would wait for a load that nobody does. */
  #giveBack(keys: readonly EntryKeys[], replies: readonly ReadReply[]): void {
    const fills = keys.flatMap(({ entry }, index) => {
      const reply = replies[index];
      return reply?.outcome === "fill" ? [{ key: entry, token: reply.token, lifeMs: 0 }] : [];
    });
    // Redis does not answer this either: then they lapse.
    this.store(fills).catch(() => undefined);
  }

  /** Stores what was loaded, or gives tokens back. @throws CommandError */
  async store(fills: readonly Fill[]): Promise<readonly { fill: Fill; outcome: "stored" | "released" | "refused" }[]> {
    const groups = this.#groups(fills, ({ key }) => key).map(async (group) => {
      const outcomes = await storeEntries(this.#commands, group);
      return group.map((fill, index) => ({ fill, outcome: outcomes[index] ?? "refused" }));
    });
    return (await Promise.all(groups)).flat();
  }

  /** A write begins. @throws CommandError @throws {@link CacheError} `UNSAFE_REDIS` */
  async begin(keys: EntryKeys, pendingMs: number): Promise<PendingWrite | "crowded"> {
    const token = this.#newToken();
    const options = { token, pendingMs, epochAge: this.#epochAge(pendingMs), maxPending };
    const { epoch, outcome } = await this.#trusted(beginWrite(this.#commands, keys, options));
    return outcome === "crowded" ? "crowded" : { keys, token, epoch };
  }

  /** A write ends; without `text` its entry is left missing. @throws CommandError */
  async end({ keys, token, epoch }: PendingWrite, value: { text?: string; lifeMs: number }) {
    return endWrite(this.#commands, keys, { token, epoch, ...value });
  }

  /** Drops entries. @throws CommandError */
  async drop(keys: readonly EntryKeys[]): Promise<void> {
    const groups = this.#groups(keys, ({ entry }) => entry);
    await Promise.all(groups.map((group) => dropEntries(this.#commands, group)));
  }

  /** Drops all entries of a collection, those that are being loaded or written included. @throws CommandError */
  async dropAll(collection: Keys): Promise<void> {
    // Twice: the scan may pass where an entry is not yet, the write that is pending then may end, and the scan pass where its mark
    // is no more. A write that ended before the first was over has its entry there throughout the second.
    for (let walk = 0; walk < 2; walk += 1) {
      for await (const found of this.#scan("the scan of a collection", collection.pattern)) {
        await this.drop(found.map((key) => collection.owning(key)));
      }
    }
  }

  /** Deletes the marks that dead writers have left (C8), in batches with a pause after each. @throws CommandError */
  async sweep(pause: () => Promise<void>): Promise<void> {
    for await (const marks of this.#scan("a sweep of marks", markPattern(this.#name))) {
      const groups = this.#groups(marks, (mark) => mark);
      await Promise.all(groups.map((group) => sweepMarks(this.#commands, group)));
      await pause();
    }
  }

  #scan(what: string, pattern: string) {
    return scanKeys(this.#commands, this.#client, { what, pattern, batchSize: scanBatch });
  }

  /** C8: what a server says is only believed once it is known to keep marks. */
  async #trusted<R extends { readonly epoch: string }>(work: Promise<R>): Promise<R> {
    const reply = await work;
    const known = this.#epochs.verdict(reply.epoch);
    if (known === undefined || (known !== "safe" && performance.now() > this.#lookAgainAt)) await this.#look();
    const verdict = this.#epochs.verdict(reply.epoch) ?? new CacheError("UNAVAILABLE", "Redis failed over just now.");
    if (verdict !== "safe") throw verdict;
    return reply;
  }

  /** One look at a time: at start, many ask at once. */
  #look(): Promise<CacheError | undefined> {
    this.#looking ??= this.#epochs
      .look((command) => this.#commands.send("a look at Redis", command))
      .then((danger) => {
        if (danger !== undefined && danger !== this.#told) tell(this.#onEvent, { type: "unsafe-redis", error: danger });
        this.#told = danger;
        return danger;
      })
      .finally(() => {
        this.#looking = undefined;
        this.#lookAgainAt = performance.now() + lookAgainMs;
      });
    return this.#looking;
  }

  #epochAge(pendingMs: number): EpochAge {
    return { ageMs: Math.ceil(pendingMs * (1 + clockDrift)), witnessed: this.#epochs.witnessed(pendingMs) };
  }

  #newToken(): string {
    this.#tokens += 1;
    return `${this.#tokenStart}${this.#tokens.toString(36)}`;
  }

  #groups<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
    return groupBySlot(this.#client, items, keyOf).flatMap((group) =>
      Array.from({ length: Math.ceil(group.length / maxBatch) }, (_, index) =>
        group.slice(index * maxBatch, (index + 1) * maxBatch),
      ),
    );
  }
}

/** A write between its begin and its end. */
export interface PendingWrite {
  readonly keys: EntryKeys;
  readonly token: string;
  readonly epoch: string;
}
