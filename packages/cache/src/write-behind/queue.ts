import { CommandError } from "@lockstep/redis-kit";
import { CacheError, unavailable } from "../errors.ts";
import type { PartitionKeys, QueueKeys, RowKeys } from "../keys.ts";
import { clockDrift } from "../options.ts";
import { type RefusedFor, type WriteReply, type WriteRequest, incrementRow, setRow } from "../queue-scripts.ts";
import type { ResolvedWriteBehindOptions } from "./options.ts";
import type { Shared } from "./shared.ts";

/** How often a write is sent that was refused for its epoch or its time, both of which the answer tells. */
const maxTries = 4;

/** A write that is in Redis, with its place in the queue. */
export type AcceptedWrite = Extract<WriteReply, { outcome: "accepted" }>;

/** Brings writes into the queue. */
export class Queue {
  readonly #shared: Shared;
  readonly #flushAfterMs: number;
  readonly #maxRows: number;
  /** What Redis' clock showed at most, in µs, at a moment of ours in ms. By partition: each may be on a server of its own. */
  readonly #clocks = new Map<PartitionKeys, { readonly time: number; readonly at: number }>();

  constructor(
    shared: Shared,
    keys: QueueKeys,
    { flushAfterMs, maxBacklog }: Pick<ResolvedWriteBehindOptions<never>, "flushAfterMs" | "maxBacklog">,
  ) {
    this.#shared = shared;
    this.#flushAfterMs = flushAfterMs;
    this.#maxRows = Math.ceil(maxBacklog / keys.partitions.length);
  }

  /** @throws {@link CacheError} */
  async set(keys: RowKeys, text: string): Promise<AcceptedWrite> {
    return this.#send(keys, (request) => setRow(this.#shared.writes, request, text));
  }

  /** @returns `"absent"`: the number must be loaded first @throws {@link CacheError} */
  async increment(keys: RowKeys, change: { by: number; revision: number }): Promise<AcceptedWrite | "absent"> {
    const reply = await this.#send(keys, (request) => incrementRow(this.#shared.writes, request, change));
    if (reply.outcome === "accepted") return reply;
    if (reply.outcome === "absent") return "absent";
    throw new CacheError(
      "INVALID_VALUE",
      "The number to be incremented, or what would become of it, is no safe integer.",
    );
  }

  async #send<Refusal extends string = never>(
    keys: RowKeys,
    run: (request: WriteRequest) => Promise<WriteReply<Refusal>>,
  ): Promise<AcceptedWrite | RefusedFor<Refusal>> {
    const { trust, newToken } = this.#shared;
    const same = { keys, token: newToken(), flushAfterMs: this.#flushAfterMs, maxRows: this.#maxRows };
    for (let tries = 0; tries < maxTries; tries += 1) {
      const at = performance.now();
      const request = { ...same, safeEpochs: trust.safeEpochs, notAfter: this.#notAfter(keys.partition, at) };
      const reply = await run(request).catch((error: unknown) => {
        throw failureOf(error);
      });
      this.#clocks.set(keys.partition, { time: reply.time, at });
      if (reply.outcome === "full") {
        throw new CacheError("OVERLOADED", "Too many rows wait to be saved: a write of one more was refused.");
      }
      // What has arrived now is void; but it may be the second coming of what has run and was not answered, its token forgotten since.
      const isForgotten = performance.now() - at >= 2 * this.#shared.deadlineMs * (1 - clockDrift);
      if (request.notAfter > 0 && isForgotten && (reply.outcome === "unknown" || reply.outcome === "late")) {
        throw new CacheError(
          "OUTCOME_UNKNOWN",
          "Redis answered a write too late to tell whether it has been accepted.",
        );
      }
      if (reply.outcome === "unknown") await trust.check(reply.epoch).catch(rethrowUnavailable);
      else if (reply.outcome !== "late") return reply as AcceptedWrite | RefusedFor<Refusal>;
    }
    throw new CacheError("UNAVAILABLE", "Redis could not be asked in time: a write was not accepted.");
  }

  /**
   * When a write that is sent now must have arrived, in µs on Redis' clock. Until then its token is remembered, so that it counts
   * once however often a client sends it; afterwards it counts no more.
   */
  #notAfter(partition: PartitionKeys, now: number): number {
    const clock = this.#clocks.get(partition);
    // 0: refused, with the time.
    return clock === undefined ? 0 : clock.time + (now - clock.at + 2 * this.#shared.deadlineMs) * 1_000;
  }
}

/** Whether nothing of a write that failed is stored is only known where Redis has refused it, or was not sent it. */
function failureOf(error: unknown): unknown {
  if (!(error instanceof CommandError) || error.failure !== "no-reply") return unavailable(error);
  return new CacheError("OUTCOME_UNKNOWN", `${error.message} It may have been accepted.`, { cause: error });
}

function rethrowUnavailable(error: unknown): never {
  throw unavailable(error);
}
