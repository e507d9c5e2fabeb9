import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../eventually.ts";
import type { CacheOnServer } from "./cache-server.ts";
import { inParallel } from "./in-parallel.ts";
import { Records } from "./records.ts";
import type { Open } from "./stale-fill.ts";

/** How long after a write has returned another server is asked for it, in ms. */
export const askedAfterMs = [0, 1, 5, 20, 100] as const;

/** How many writes are under way at once: few, so that the first read comes as soon as a caller's would. */
const parallel = 8;

/** A product that can't say whether it has a copy has been asked so often before a write: it has one if it ever will. */
const readsBefore = 3;

export interface StaleCopies {
  /** The rounds in which the reader had a copy when the write began, as far as the product can tell. */
  readonly rounds: number;
  /** How many of their reads were older than the write, for each of {@link askedAfterMs}. */
  readonly stale: readonly number[];
}

/**
 * G1: a server has a copy in its memory; another writes; the first is asked as soon as the write has returned, and a few times later. A
 * violation is a read that is older than the write.
 */
export async function staleCopy(open: Open, { rounds }: { rounds: number }): Promise<StaleCopies> {
  const records = new Records();
  const caches = await open(records);
  const stale = askedAfterMs.map(() => 0);
  const later: Promise<void>[] = [];
  let counted = 0;
  await inParallel(Array.from({ length: rounds }), parallel, async (_, round) => {
    const reader = caches[round % caches.length];
    const writer = caches[(round + 1) % caches.length];
    if (reader === undefined || writer === undefined) throw new RangeError("A stale copy needs two servers.");
    const id = `copied-${round}`;
    records.commit(id);
    await untilCopied(reader, id);
    const value = records.nextValue();
    await writer.update(id, value);
    const written = records.commitOf(id, value);
    const returnedAt = performance.now();
    counted += 1;
    const read = async (index: number) => {
      if (records.commitOf(id, await reader.get(id)) < written) stale[index] = (stale[index] ?? 0) + 1;
    };
    await read(0);
    later.push(...askedAfterMs.slice(1).map((afterMs, index) => at(returnedAt + afterMs, () => read(index + 1))));
  });
  await Promise.all(later);
  return { rounds: counted, stale };
}

async function at(moment: number, work: () => Promise<void>): Promise<void> {
  await delay(Math.max(0, moment - performance.now()));
  await work();
}

async function untilCopied(reader: CacheOnServer, id: string): Promise<void> {
  for (let read = 0; read < readsBefore; read += 1) await reader.get(id);
  await eventually("the reader has a copy", async () => (await reader.isCopied(id)) !== false);
}
