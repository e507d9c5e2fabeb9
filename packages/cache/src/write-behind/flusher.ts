import { CommandError } from "@lockstep/redis-kit";
import type { QueueKeys } from "../keys.ts";
import { type FlusherParts, PartitionFlusher } from "./partition-flusher.ts";

/** How many batches this process saves at a time. */
const maxSaves = 4;

/** How long to wait when Redis can't be asked. */
const unavailablePauseMs = 250;

/** Saves the rows of a collection, on each server; those of one partition on one server at a time. */
export class Flusher<T> {
  readonly #partitions: readonly PartitionFlusher<T>[];
  readonly #closed = new AbortController();
  readonly #tell: FlusherParts<T>["tell"];
  readonly #waking = new Set<() => void>();
  readonly #inLine: (() => void)[] = [];
  #saves = 0;
  #savedAt: number | undefined;

  constructor(keys: QueueKeys, parts: Pick<FlusherParts<T>, "shared" | "options" | "counts" | "tell">) {
    this.#tell = parts.tell;
    const all: FlusherParts<T> = {
      ...parts,
      signal: this.#closed.signal,
      inTurn: (work) => this.#inTurn(work),
      sourceSaved: () => {
        this.#savedAt = performance.now();
      },
      lastSavedAt: () => this.#savedAt,
    };
    const token = parts.shared.newToken();
    const { leaseMs } = parts.options;
    this.#partitions = keys.partitions.map((partition) => new PartitionFlusher(all, { partition, token, leaseMs }));
    for (const partition of this.#partitions) void this.#run(partition);
  }

  /** What is due by then, in ms on the clock of each partition's Redis, is due now. */
  hurry(dueBy: readonly number[]): void {
    this.#partitions.forEach((partition, index) => {
      partition.hurry(dueBy[index] ?? 0);
    });
    this.#wake();
  }

  /** Stops; saves that are under way are told so. */
  close(): void {
    if (this.#closed.signal.aborted) return;
    for (const partition of this.#partitions) {
      // Redis is gone, or the client is closed: then the lease lapses.
      partition.release().catch(() => undefined);
    }
    this.#closed.abort(new Error("The cache was closed."));
    this.#wake();
  }

  async #run(partition: PartitionFlusher<T>): Promise<void> {
    // Not all servers, and partitions, at one moment.
    let pauseMs = Math.random() * unavailablePauseMs;
    for (;;) {
      await this.#pause(pauseMs);
      if (this.#closed.signal.aborted) return;
      pauseMs = await partition.step().catch((error: unknown) => {
        // Of an outage the breaker tells.
        const isOutage = error instanceof CommandError && error.failure !== "refused";
        if (!isOutage && !this.#closed.signal.aborted) this.#tell({ type: "flush-failed", error });
        return unavailablePauseMs;
      });
    }
  }

  /** Without holding up the end of the process. */
  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#closed.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waking.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms).unref();
      this.#waking.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waking]) wake();
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
