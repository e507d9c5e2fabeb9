import { unavailable } from "../errors.ts";
import { type PartitionBacklog, discardRows, lookAtPartition, retryRows } from "../backlog-scripts.ts";
import { type PartitionKeys, type QueueKeys, type RowKeys, idOfRow } from "../keys.ts";
import type { Shared } from "./shared.ts";

/** How many dead letters are looked at in one step. */
const scanBatch = 100;

/** What waits to be saved, on all servers. */
export interface Backlog {
  /** How many rows wait. */
  readonly rows: number;
  /** For how long the oldest has waited, in ms; 0 if none does. */
  readonly oldestMs: number;
  /** How many are not tried any more. They are not in `rows`, but count for `maxBacklog`. */
  readonly deadLetters: number;
}

/** A row that is not tried any more. */
export interface DeadLetter {
  /** Whose. */
  readonly id: string;
  /** Of the value that could not be saved. */
  readonly version: number;
  /** How often it has failed, alone, while the source saved others. */
  readonly attempts: number;
}

/** What is known of the rows that wait, and of those that are dead. */
export class BacklogView {
  readonly #shared: Shared;
  readonly #keys: QueueKeys;

  constructor(shared: Shared, keys: QueueKeys) {
    this.#shared = shared;
    this.#keys = keys;
  }

  /** @throws {@link CacheError} `UNAVAILABLE` */
  async backlog(): Promise<Backlog> {
    const { commands } = this.#shared;
    const looks = this.#keys.partitions.map((keys) => lookAtPartition(commands, keys));
    const partitions: PartitionBacklog[] = await orUnavailable(Promise.all(looks));
    return {
      rows: partitions.reduce((sum, { rows }) => sum + rows, 0),
      oldestMs: Math.max(0, ...partitions.map(({ oldestMs }) => oldestMs)),
      deadLetters: partitions.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
    };
  }

  /** @throws {@link CacheError} `UNAVAILABLE` */
  async deadLetters(limit: number): Promise<DeadLetter[]> {
    const found = new Map<string, DeadLetter>();
    for (const partition of this.#keys.partitions) {
      for await (const letters of this.#scan(partition)) {
        for (const [row, state] of letters) {
          if (found.size >= limit) return [...found.values()];
          const [version, attempts] = state.split(" ");
          // A scan may tell of one twice.
          found.set(row, { id: idOfRow(row), version: Number(version), attempts: Number(attempts) });
        }
      }
    }
    return [...found.values()];
  }

  /** @returns how many wait again @throws {@link CacheError} `UNAVAILABLE`: some may */
  async retryDeadLetters(): Promise<number> {
    let queued = 0;
    for (const partition of this.#keys.partitions) {
      for await (const letters of this.#scan(partition)) {
        const rows = letters.map(([row]) => row);
        if (rows.length > 0) queued += await orUnavailable(retryRows(this.#shared.commands, partition, rows));
      }
    }
    return queued;
  }

  /** @returns how many were dead letters @throws {@link CacheError} `UNAVAILABLE`: some may be given up */
  async discardDeadLetters(rows: readonly RowKeys[]): Promise<number> {
    let discarded = 0;
    for (const partition of this.#keys.partitions) {
      const names = rows.filter((each) => each.partition === partition).map(({ row }) => row);
      for (let start = 0; start < names.length; start += scanBatch) {
        const some = names.slice(start, start + scanBatch);
        discarded += await orUnavailable(discardRows(this.#shared.commands, partition, some));
      }
    }
    return discarded;
  }

  async *#scan({ dead }: PartitionKeys): AsyncGenerator<[row: string, state: string][]> {
    let cursor = "0";
    do {
      const from = cursor;
      const [next, found] = await orUnavailable(
        this.#shared.commands.send("a scan of dead letters", (client) => client.hscan(dead, from, "COUNT", scanBatch)),
      );
      cursor = next;
      yield found.flatMap((row, index) => (index % 2 === 0 ? [[row, found[index + 1] ?? ""] as [string, string]] : []));
    } while (cursor !== "0");
  }
}

function orUnavailable<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw unavailable(error);
  });
}
