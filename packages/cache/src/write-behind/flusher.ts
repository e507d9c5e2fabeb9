import type { PartitionKeys, QueueKeys } from "../keys.ts";
import { FailureNews } from "./failure-news.ts";
import type { FlusherParts } from "./flusher-parts.ts";
import { PartitionFlusher } from "./partition-flusher.ts";
import { Pause } from "./pause.ts";

/** How many batches this process saves at a time. */
const maxSaves = 4;

/** Within how long a flusher begins. */
const firstPauseMs = 250;

/** Saves the rows of a collection, on each server; those of one partition on one server at a time. */
export class Flusher<T> {
  readonly #pauses: ReadonlyMap<PartitionKeys, Pause>;
  readonly #partitions: readonly PartitionFlusher<T>[];
  readonly #closed = new AbortController();
  readonly #inLine: (() => void)[] = [];
  #saves = 0;
  #savedAt: number | undefined;

  constructor(keys: QueueKeys, parts: Pick<FlusherParts<T>, "shared" | "options" | "counts" | "tell">) {
    const news = new FailureNews((error) => {
      parts.tell({ type: "flush-failed", error });
    });
    const all: FlusherParts<T> = {
      ...parts,
      signal: this.#closed.signal,
      failed: (error) => {
        news.note(error);
      },
      inTurn: (work) => this.#inTurn(work),
      sourceSaved: () => {
        this.#savedAt = performance.now();
      },
      lastSavedAt: () => this.#savedAt,
    };
    const token = parts.shared.newToken();
    const { leaseMs } = parts.options;
    this.#pauses = new Map(keys.partitions.map((partition) => [partition, new Pause()]));
    this.#partitions = keys.partitions.map((partition) => new PartitionFlusher(all, { partition, token, leaseMs }));
    for (const partition of this.#partitions) void this.#run(partition);
  }

  /** Something is due in a partition in so many ms. An idle flusher would find it, but later. */
  due(partition: PartitionKeys, inMs: number): void {
    this.#pauses.get(partition)?.endWithin(inMs);
  }

  /** Stops; saves that are under way are told so. */
  close(): void {
    if (this.#closed.signal.aborted) return;
    // At once: who closes a cache closes its client next.
    for (const partition of this.#partitions) this.#release(partition);
    this.#closed.abort(new Error("The cache was closed."));
    for (const pause of this.#pauses.values()) pause.endWithin(0);
  }

  async #run(flusher: PartitionFlusher<T>): Promise<void> {
    const pause = this.#pauses.get(flusher.partition);
    // Not all servers, and partitions, at one moment.
    let pauseMs = Math.random() * firstPauseMs;
    for (;;) {
      await pause?.last(pauseMs);
      if (this.#closed.signal.aborted) break;
      pauseMs = await flusher.step();
    }
    // What was being claimed when this was closed.
    this.#release(flusher);
  }

  #release(flusher: PartitionFlusher<T>): void {
    // Redis is gone, or the client is closed: then the lease lapses.
    flusher.release().catch(() => undefined);
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#saves >= maxSaves) await new Promise<void>((resolve) => this.#inLine.push(resolve));
    else this.#saves += 1;
    try {
      await work();
    } finally {
      const next = this.#inLine.shift();
      // The place is handed on.
      if (next === undefined) this.#saves -= 1;
      else next();
    }
  }
}
