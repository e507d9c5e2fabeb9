import type { CircuitBreaker, RedisClient, Sender, Writer } from "@lockstep/redis-kit";
import type { OnEvent } from "../events.ts";
import type { Trust } from "../drivers/trust.ts";

/** What the write-behind collections of one cache share. */
export interface Shared {
  readonly client: RedisClient;
  readonly commands: CircuitBreaker;
  /** For what is to be accepted: where `durability` is given it waits for replicas, through a breaker of its own. */
  readonly writes: Sender<Writer>;
  readonly deadlineMs: number;
  readonly trust: Trust;
  readonly newToken: () => string;
  readonly onEvent: OnEvent;
}
