import type { Redis } from "ioredis";
import { CommandError } from "./errors.ts";

/** When a write counts as done: not before so many replicas have it too. */
export interface Durability {
  /** How many replicas must have it; 1 or more. */
  readonly replicas: number;
  /** How long they are waited for, in ms; 1 or more, and less than a command's deadline. */
  readonly timeoutMs: number;
}

/** A write that is to leave; `isAsking`: to a node that its slot is on its way to. */
interface LaneWrite {
  readonly command: readonly (string | number)[];
  readonly isAsking?: boolean;
}

interface QueuedWrite extends LaneWrite {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A lane for each node. */
export class Lanes {
  readonly #durability: Durability;
  readonly #lanes = new WeakMap<Redis, Lane>();

  constructor(durability: Durability) {
    this.#durability = durability;
  }

  of(node: Redis): Lane {
    const lane = this.#lanes.get(node) ?? new Lane(node, this.#durability);
    this.#lanes.set(node, lane);
    return lane;
  }
}

/** The writes to one node: some are out with a WAIT behind them, and those that come meanwhile are next. */
class Lane {
  readonly #node: Redis;
  readonly #durability: Durability;
  #next: QueuedWrite[] = [];
  #isOut = false;

  constructor(node: Redis, durability: Durability) {
    this.#node = node;
    this.#durability = durability;
  }

  write(write: LaneWrite): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#next.push({ ...write, resolve, reject });
      if (!this.#isOut) void this.#sendAll();
    });
  }

  async #sendAll(): Promise<void> {
    this.#isOut = true;
    while (this.#next.length > 0) {
      const writes = this.#next;
      this.#next = [];
      await this.#send(writes);
    }
    this.#isOut = false;
  }

  async #send(writes: readonly QueuedWrite[]): Promise<void> {
    const { replicas, timeoutMs } = this.#durability;
    const pipeline = this.#node.pipeline();
    for (const { command, isAsking = false } of writes) {
      if (isAsking) pipeline.asking();
      const [name = "", ...args] = command;
      pipeline.call(String(name), ...args);
    }
    pipeline.wait(replicas, timeoutMs);
    let replies: [error: Error | null, reply: unknown][];
    try {
      replies = (await pipeline.exec()) ?? [];
    } catch (error) {
      for (const { reject } of writes) reject(error as Error);
      return;
    }
    const [waitError, count] = replies.at(-1) ?? [connectionLost()];
    let at = -1;
    for (const { isAsking = false, resolve, reject } of writes) {
      at += isAsking ? 2 : 1;
      const [error, reply] = replies[at] ?? [connectionLost()];
      if (error) reject(error);
      else if (waitError)
        reject(new CommandError("no-reply", "Redis did not say which replicas have it.", { cause: waitError }));
      else if (Number(count) < replicas) reject(tooFew(Number(count), this.#durability));
      else resolve(reply);
    }
  }
}

function connectionLost(): Error {
  return new Error("Connection is closed.");
}

function tooFew(count: number, { replicas, timeoutMs }: Durability): CommandError {
  return new CommandError("no-reply", `${count} of ${replicas} replicas had a write within ${timeoutMs} ms.`);
}
