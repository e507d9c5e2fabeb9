import { withDeadline } from "@lockstep/redis-kit";
import { decode } from "../codec.ts";
import { CacheError } from "../errors.ts";
import type { TakenRow } from "../flush-scripts.ts";
import { idOfRow } from "../keys.ts";
import type { Save } from "./options.ts";

/**
 * Saves rows. The outcome is the save's own, or an error at the deadline, which the source is to enforce too.
 *
 * @param options `deadline`: on the clock of `performance.now()`; `closed`: aborts when the cache is closed
 * @throws what the save throws @throws {@link CacheError} `OUTCOME_UNKNOWN`
 */
export async function saveBatch<T>(
  save: Save<T>,
  rows: readonly TakenRow[],
  { deadline, closed }: { deadline: number; closed: AbortSignal },
): Promise<void> {
  const late = new AbortController();
  const lateError = () => {
    const error = new CacheError("OUTCOME_UNKNOWN", "A batch was not saved within its deadline: it may still be.");
    late.abort(error);
    return error;
  };
  const batch = rows.map(({ row, version, text }) => ({
    id: idOfRow(row),
    value: decode<T>(text),
    version: Number(version),
  }));
  const work = (async () => save(batch, { deadline, signal: AbortSignal.any([late.signal, closed]) }))();
  const deadlineMs = Math.max(0, deadline - performance.now());
  try {
    await withDeadline(work, { deadlineMs, lateError, onLate: () => undefined });
  } catch (error) {
    // Whatever is left of it is to stop.
    late.abort(error);
    throw error;
  }
}
