import { setTimeout as delay } from "node:timers/promises";
import { CommandError } from "@lockstep/redis-kit";
import { hurryRows, lookAtPartition } from "../backlog-scripts.ts";
import { CacheError } from "../errors.ts";
import type { PartitionKeys } from "../keys.ts";
import type { ResolvedWriteBehindOptions } from "./options.ts";
import type { Shared } from "./shared.ts";

/** How often a drain looks whether it is done. */
const pollMs = 25;

/** For how long rows are hurried at most, whatever a drain may take. */
const longestLifeMs = 86_400_000;

/** A drain of one collection. */
export interface Drain {
  readonly shared: Shared;
  readonly options: Pick<ResolvedWriteBehindOptions<never>, "flushAfterMs" | "longestWaitMs">;
  readonly timeoutMs: number;
  /** Called once what waits in a partition is due. */
  readonly onHurried: (partition: PartitionKeys) => void;
}

/**
 * Has all that waits in a partition saved, by whichever server holds it. What can't be asked is asked again until the time is over.
 *
 * @returns how many rows of before are left @throws {@link CacheError} `UNAVAILABLE`: nobody knows how many
 */
export async function drainPartition(drain: Drain, partition: PartitionKeys): Promise<number> {
  const endsAt = performance.now() + drain.timeoutMs;
  let since: number | undefined;
  for (;;) {
    let left: number | undefined;
    let failure: unknown;
    try {
      since ??= await hurry(drain, partition);
      if (since !== undefined) left = (await lookAtPartition(drain.shared.commands, partition, since)).rows;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      failure = error;
    }
    if (left === 0) return left;
    const leftMs = endsAt - performance.now();
    if (leftMs > 0) await delay(Math.min(pollMs, leftMs));
    else if (left !== undefined) return left;
    else
      throw new CacheError("UNAVAILABLE", "Redis did not tell in time what is left of a backlog.", { cause: failure });
  }
}

async function hurry({ shared, options, timeoutMs, onHurried }: Drain, partition: PartitionKeys) {
  const lifeMs = Math.ceil(Math.min(timeoutMs, longestLifeMs)) + 1;
  const since = await hurryRows(shared.commands, partition, { ...options, lifeMs });
  onHurried(partition);
  return since;
}
