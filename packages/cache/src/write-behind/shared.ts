import type { CircuitBreaker, RedisClient } from "@lockstep/redis-kit";
import type { OnEvent } from "../events.ts";
import type { Trust } from "../drivers/trust.ts";

/** What the write-behind collections of one cache share. */
export interface Shared {
  readonly client: RedisClient;
  readonly commands: CircuitBreaker;
  readonly deadlineMs: number;
  readonly trust: Trust;
  readonly newToken: () => string;
  readonly onEvent: OnEvent;
}
