import { setTimeout as pause } from "node:timers/promises";
import { CircuitBreaker, CommandError } from "@lockstep/redis-kit";
import { CacheError } from "../errors.ts";
import { tell } from "../events.ts";
import { type EntryKeys, probeKey } from "../keys.ts";
import {
  type Driver,
  type DriverOptions,
  type EntryRules,
  type Fill,
  type FillOutcome,
  type FillResult,
  type PendingWrite,
  type ReadReply,
  breaker,
  failedFills,
  maxBatch,
  tokenIn,
} from "./driver.ts";
import type { Item } from "./items.ts";
import { type Found, MemcachedItems, type Operation } from "./memcached-items.ts";
import { memcachedKey } from "./memcached-keys.ts";
import { MemcachedSender } from "./memcached-sender.ts";
import type { MemcachedServers } from "./memcached-servers.ts";
import { rendezvous } from "./rendezvous.ts";
import { Sightings } from "./sightings.ts";
import { createTokens } from "./tokens.ts";
import { Turns } from "./turns.ts";
import {
  type Moment,
  type Transition,
  beginItem,
  dropItem,
  endItem,
  fillOf,
  readItem,
  storeItem,
  unkeptAt,
} from "./transitions.ts";

/** How often an item is looked at anew because somebody else has changed it meanwhile. */
const maxLooks = { read: 3, change: 32 };

/** The longest pause between two looks, in ms. It is random: those who met once would meet again. */
const maxPauseMs = 8;

/**
 * The entries in Memcached. It changes single items atomically and no more, so an entry, the token of who loads it and the marks of
 * its pending writes are one item, and each change is a compare-and-set against what was looked at.
 *
 * C4 and C5 need no clock: a token is void once the item is another. C8 and C9 can't be kept: a mark may be evicted, and goes when
 * its server restarts. Then whoever holds it finds that at the end of the write, and drops what was filled meanwhile.
 */
export class MemcachedDriver implements Driver {
  readonly #name: string;
  readonly #nodes: readonly MemcachedItems[];
  readonly #nodeOf: (key: string) => number;
  readonly #deadlineMs: number;
  readonly #sightings = new Sightings();
  readonly #newToken = createTokens();
  readonly #turns = new Turns();

  constructor(servers: MemcachedServers, { name, deadlineMs, onEvent }: DriverOptions) {
    this.#name = name;
    this.#deadlineMs = deadlineMs;
    this.#nodeOf = rendezvous(servers.servers);
    // A breaker each: one that is down must not keep the others from being asked.
    this.#nodes = servers.nodes.map((node) => {
      const sender = new MemcachedSender(node, { deadlineMs, isClosed: () => servers.isClosed });
      const onChange = (state: "open" | "half-open" | "closed") => {
        tell(onEvent, { type: "breaker", state, server: node.name });
      };
      return new MemcachedItems(new CircuitBreaker(sender, { ...breaker, onChange, server: "A Memcached server" }));
    });
  }

  async ready(): Promise<void> {
    const key = memcachedKey(probeKey(this.#name));
    await Promise.all(this.#nodes.map((node) => node.probe(key, this.#operation("a look at Memcached"))));
  }

  read<T extends { readonly keys: EntryKeys }>(items: readonly T[], rules: EntryRules) {
    return this.#groups(items).map(({ node, members }) => ({
      items: members.map(({ item }) => item),
      replies: this.#readGroup(
        node,
        members.map(({ key, item }) => ({ key, entry: item.keys.entry })),
        rules,
      ),
    }));
  }

  async #readGroup(node: MemcachedItems, wanted: readonly Wanted[], rules: EntryRules): Promise<ReadReply[]> {
    const operation = this.#operation("the read of entries");
    const replies = new Map<Wanted, ReadReply>();
    let left = wanted;
    try {
      for (let look = 0; look < maxLooks.read && left.length > 0; look += 1) {
        const found = await node.find(
          left.map(({ key }) => key),
          operation,
        );
        const tries = left.map(async (each, index) => {
          const reply = await this.#tryRead(node, each, found[index] ?? {}, { rules, operation });
          if (reply !== undefined) replies.set(each, reply);
        });
        await Promise.allSettled(tries).then(() => Promise.all(tries));
        left = left.filter((each) => !replies.has(each));
      }
    } catch (error) {
      // F3: nobody is told of these tokens, and others would wait for loads that nobody does.
      for (const [{ entry }, reply] of replies) this.#giveBack(entry, reply, rules);
      throw error;
    }
    return wanted.map((each) => replies.get(each) ?? { outcome: "busy" });
  }

  /** @returns `undefined`: somebody was faster */
  async #tryRead(
    node: MemcachedItems,
    { key, entry }: Wanted,
    found: Found,
    { rules, operation }: { rules: EntryRules; operation: Operation },
  ): Promise<ReadReply | undefined> {
    const token = this.#newToken();
    const { reply, next } = readItem(found.item, { token, rules }, this.#moment());
    if (next === undefined) return reply;
    const onLate = (outcome: string) => {
      if (outcome === "stored") this.#giveBack(entry, reply, rules);
    };
    try {
      const outcome = await node.put(key, { found, next, onLate }, operation);
      if (outcome !== "too-large") return outcome === "stored" ? reply : undefined;
      // An old value that has no room for the token as well.
      const again = await node.put(key, { found, next: fillOf(token, rules), onLate }, operation);
      return again === "stored" ? { outcome: "fill", token } : undefined;
    } catch (error) {
      if (!(error instanceof CommandError) || error.failure !== "refused") throw error;
      // It has no memory for more.
      return reply.outcome === "expired" ? { ...reply, refresh: "failed" } : { outcome: "full" };
    }
  }

  #giveBack(entry: string, reply: ReadReply, rules: EntryRules): void {
    const token = tokenIn(reply);
    // Unanswered as well, it lapses.
    if (token !== undefined) void this.store([{ key: entry, token, result: "unused" }], rules);
  }

  async store(fills: readonly Fill[], rules: EntryRules) {
    const operation = this.#operation("the storing of entries");
    const stores = fills.map((fill) => {
      const step: Step<FillOutcome> = (item, moment) => storeItem(item, fill, rules, moment);
      return this.#change(fill.key, step, operation).then(
        (outcome): FillResult[] => [{ fill, outcome }],
        (error: unknown) => failedFills([fill], error),
      );
    });
    return (await Promise.all(stores)).flat();
  }

  async begin(keys: EntryKeys, rules: EntryRules): Promise<PendingWrite> {
    const token = this.#newToken();
    const operation = this.#operation("the begin of a write");
    await this.#change(keys.entry, (item, moment) => beginItem(item, token, rules, moment), operation);
    return { keys, token, epoch: "" };
  }

  async end({ keys, token }: PendingWrite, value: { text: string; lifeMs: number } | undefined, rules: EntryRules) {
    const operation = this.#operation("the end of a write");
    return this.#change(keys.entry, (item, moment) => endItem(item, { token, value }, rules, moment), operation);
  }

  async drop(keys: readonly EntryKeys[]): Promise<void> {
    const operation = this.#operation("an invalidation");
    const drops = keys.map(({ entry }) => this.#change(entry, dropItem, operation));
    await Promise.allSettled(drops).then(() => Promise.all(drops));
  }

  dropAll(): Promise<void> {
    const message = "Memcached can't list the entries of a collection: raise its revision instead.";
    return Promise.reject(new CacheError("UNSUPPORTED", message));
  }

  async sweep(): Promise<void> {
    // Marks of dead writers go with their items.
  }

  close(): void {
    // Nothing runs here by itself, and the servers are the caller's to close.
  }

  /**
   * In turns: of those who change one item at the same time only one gets through, and other servers are enough to race with. Nobody
   * waits longer for his turn than his operation may take, since those before him began theirs earlier.
   */
  #change<R>(entry: string, step: Step<R>, operation: Operation): Promise<R | "too-large"> {
    const key = memcachedKey(entry);
    return this.#turns.take(key, () => this.#changeNow(key, step, operation));
  }

  /** Looks at an item and changes it, until nobody has come between. What is too large for the server is not kept. */
  async #changeNow<R>(key: string, step: Step<R>, operation: Operation): Promise<R | "too-large"> {
    const node = this.#node(key);
    for (let look = 0; look < maxLooks.change; look += 1) {
      if (look > 1) await pause(Math.random() * Math.min(look, maxPauseMs));
      const [found = {}] = await node.find([key], operation);
      const moment = this.#moment();
      const { reply, next } = step(found.item, moment);
      if (next === undefined) return reply;
      const outcome = await node.put(key, { found, next }, operation);
      if (outcome === "stored") return reply;
      if (outcome !== "too-large") continue;
      if ((await node.put(key, { found, next: unkeptAt(moment.now) }, operation)) === "stored") return outcome;
    }
    throw new CommandError("refused", `Others changed an entry too often for ${operation.what}.`);
  }

  #operation(what: string): Operation {
    return { what, endsAt: performance.now() + this.#deadlineMs };
  }

  /** Freshness goes by the wall clock, which all servers have; whether a writer is dead by what was seen. */
  #moment(): Moment {
    return { now: Date.now(), hasLapsed: this.#sightings.hasLapsed };
  }

  #node(key: string): MemcachedItems {
    const node = this.#nodes[this.#nodeOf(key)];
    if (node === undefined) throw new Error("A key belongs to one of the servers.");
    return node;
  }

  #groups<T extends { readonly keys: EntryKeys }>(items: readonly T[]) {
    const byNode = new Map<MemcachedItems, { key: string; item: T }[]>();
    for (const item of items) {
      const key = memcachedKey(item.keys.entry);
      const node = this.#node(key);
      const members = byNode.get(node);
      if (members === undefined) byNode.set(node, [{ key, item }]);
      else members.push({ key, item });
    }
    return [...byNode].flatMap(([node, all]) =>
      Array.from({ length: Math.ceil(all.length / maxBatch) }, (_, index) => ({
        node,
        members: all.slice(index * maxBatch, (index + 1) * maxBatch),
      })),
    );
  }
}

type Step<R> = (item: Item | undefined, moment: Moment) => Transition<R>;

/** An entry that is read, and its key as Memcached has it. */
interface Wanted {
  readonly key: string;
  readonly entry: string;
}
