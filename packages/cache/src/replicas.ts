import {
  CircuitBreaker,
  Commands,
  groupBySlot,
  primaries,
  type RedisClient,
  type ServerInfo,
  parseServerInfo,
} from "@lockstep/redis-kit";
import type { Redis } from "ioredis";
import { isValueOf } from "./codec.ts";
import type { Counts } from "./counts.ts";
import { type EntryRules, type ReadReply, breaker, maxBatch } from "./drivers/driver.ts";
import { dangerToMarks } from "./drivers/epochs.ts";
import { type EventOfCollection, type OnEvent, tell } from "./events.ts";
import type { EntryKeys } from "./keys.ts";
import { Refusals } from "./refusals.ts";
import { ReplicaLag } from "./replica-lag.ts";
import { type ReplicaAnswer, readReplica } from "./scripts.ts";

/** How often a primary is asked where it is, in a collection's `maxLagMs`: of that much a replica seems further behind than it is. */
const samplesInLag = 4;

/** How many of its own writes a process remembers; with more, all entries are read from the primary for a while. */
const maxWrites = 10_000;

/** The replicas of a cache: the caller's client for them, and what is known of their lag. */
export class Replicas {
  readonly lag = new ReplicaLag();
  readonly commands: CircuitBreaker;
  readonly client: RedisClient;
  readonly #primary: RedisClient;
  readonly #primaryCommands: Commands;
  #sampledAt = -Infinity;
  /** The primaries that have not answered yet. */
  readonly #sampling = new Set<Redis>();

  constructor(
    clients: { client: RedisClient; replicas: RedisClient },
    options: { deadlineMs: number; onEvent: OnEvent },
  ) {
    this.client = clients.replicas;
    this.#primary = clients.client;
    this.#primaryCommands = new Commands(clients.client, options);
    this.commands = new CircuitBreaker(new Commands(clients.replicas, options), {
      ...breaker,
      onChange: (state) => {
        tell(options.onEvent, { type: "replica-breaker", state });
      },
    });
  }

  /** Asks all primaries where they are, unless that was done less than `everyMs` ago. Without reads nobody asks. */
  sample(everyMs: number): void {
    const sentAt = performance.now();
    if (sentAt - this.#sampledAt < everyMs) return;
    this.#sampledAt = sentAt;
    for (const node of primaries(this.#primary)) {
      // Each for itself: one that is silent must not keep the replicas of the others from being read.
      if (!this.#sampling.has(node)) void this.#sampleOf(node, sentAt);
    }
  }

  async #sampleOf(node: Redis, sentAt: number): Promise<void> {
    this.#sampling.add(node);
    try {
      const reply = await this.#primaryCommands.send("a look at Redis", () => node.info());
      this.#note(parseServerInfo(reply), sentAt);
    } catch {
      // Its replicas are read no more for a while, which the counts tell of.
    } finally {
      this.#sampling.delete(node);
    }
  }

  #note(info: ServerInfo, sentAt: number): void {
    // C8: a server that may lose marks is not believed, nor are its replicas.
    if (info.role !== "primary" || dangerToMarks(info) !== undefined) return;
    this.lag.note(info.replicationId, { sentAt, offset: info.replicationOffset });
  }
}

type Readable = { readonly keys: EntryKeys; readonly waitingSince: number | undefined };

/** What replicas answered of some reads. */
export interface ReplicaReplies<T> {
  readonly hits: readonly { readonly read: T; readonly reply: Extract<ReadReply, { outcome: "hit" }> }[];
  /** For the primary. */
  readonly rest: readonly T[];
}

/**
 * The reads of one collection that replicas may answer. A value that they give was the last one at some moment in the last
 * `maxLagMs`; whatever else they say, nothing included, the primary is asked.
 *
 * An entry that this process has written is read from the primary for `maxLagMs` from the reply to the write's begin (or to the
 * invalidation). Whatever a replica may answer with after that holds that begin, which has dropped the old value.
 */
export class ReplicaReads {
  readonly #replicas: Replicas;
  readonly #maxLagMs: number;
  readonly #counts: Counts;
  readonly #refusals: Refusals;
  /** By entry: until when the primary is read, on the monotonic clock; those that end first come first. */
  readonly #written = new Map<string, number>();
  #allWrittenUntil = -Infinity;

  constructor(
    replicas: Replicas,
    { maxLagMs, counts, tell }: { maxLagMs: number; counts: Counts; tell: (event: EventOfCollection) => void },
  ) {
    this.#replicas = replicas;
    this.#refusals = new Refusals(tell);
    this.#maxLagMs = maxLagMs;
    this.#counts = counts;
  }

  /** This process has written these. */
  avoid(keys: readonly EntryKeys[]): void {
    const now = performance.now();
    for (const [entry, until] of this.#written) {
      if (until > now) break;
      this.#written.delete(entry);
    }
    for (const { entry } of keys) {
      this.#written.delete(entry);
      this.#written.set(entry, now + this.#maxLagMs);
    }
    if (this.#written.size > maxWrites) this.avoidAll();
  }

  avoidAll(): void {
    this.#allWrittenUntil = performance.now() + this.#maxLagMs;
    this.#written.clear();
  }

  /** Sends to replicas what they may answer. No answer rejects. */
  read<T extends Readable>(
    reads: readonly T[],
    rules: EntryRules,
  ): { readonly direct: readonly T[]; readonly answers: readonly Promise<ReplicaReplies<T>>[] } {
    const { client, lag } = this.#replicas;
    this.#replicas.sample(this.#maxLagMs / samplesInLag);
    // Without a recent sample no answer would count.
    const isKnown = performance.now() - lag.newestSentAt <= this.#maxLagMs;
    const direct: T[] = [];
    const asked: T[] = [];
    for (const read of reads) {
      // Who waits for another's load waits for what the primary will have first.
      const mayAsk = isKnown && read.waitingSince === undefined && !this.#isWritten(read.keys);
      (mayAsk ? asked : direct).push(read);
    }
    const groups = groupBySlot(client, asked, ({ keys }) => keys.entry, maxBatch);
    return { direct, answers: groups.map((group) => this.#ask(group, rules)) };
  }

  async #ask<T extends Readable>(reads: readonly T[], rules: EntryRules): Promise<ReplicaReplies<T>> {
    const entries = reads.map(({ keys }) => keys.entry);
    const sentAt = performance.now();
    try {
      const answer = await readReplica(this.#replicas.commands, entries);
      this.#counts.time("shared", performance.now() - sentAt);
      return this.#judge(reads, answer, rules);
    } catch (error) {
      this.#refusals.note(error);
      return { hits: [], rest: reads };
    }
  }

  #judge<T extends Readable>(reads: readonly T[], answer: ReplicaAnswer, rules: EntryRules): ReplicaReplies<T> {
    if (!this.#isNear(answer)) {
      this.#counts.add("replicaTooFar", reads.length);
      return { hits: [], rest: reads };
    }
    const hits: ReplicaReplies<T>["hits"][number][] = [];
    const rest: T[] = [];
    reads.forEach((read, index) => {
      const entry = answer.entries[index];
      const leftMs = (entry?.leftMs ?? 0) - rules.extraMs;
      if (entry === undefined || leftMs <= 0 || !isHit(entry, answer, rules)) rest.push(read);
      else hits.push({ read, reply: { outcome: "hit", text: entry.text, leftMs } });
    });
    this.#counts.add("replicaHits", hits.length);
    return { hits, rest };
  }

  #isNear({ replicationId, offset }: ReplicaAnswer): boolean {
    if (replicationId === "") return false;
    const lag = this.#replicas.lag.of(replicationId, offset, performance.now());
    if (lag === undefined) return false;
    this.#counts.timeLag(lag.ms);
    return lag.isCovered && lag.ms <= this.#maxLagMs;
  }

  #isWritten({ entry }: EntryKeys): boolean {
    const now = performance.now();
    return now < this.#allWrittenUntil || now < (this.#written.get(entry) ?? -Infinity);
  }
}

/** Whether it is a value of the revision, and of the epoch (C9) of the history that the replica is in. */
function isHit(
  entry: ReplicaAnswer["entries"][number],
  { replicationId }: ReplicaAnswer,
  { revision }: EntryRules,
): boolean {
  return isValueOf(entry.text, revision) && replicationId.startsWith(entry.epoch);
}
