import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../eventually.ts";
import type { Fault, FaultCounts, FaultProxy } from "../fault-proxy.ts";
import { type CacheOnServer, recordsOf } from "./cache-server.ts";
import type { History } from "./history.ts";

/** What servers do while Redis is gone. */
export interface Outage {
  /** From the first read until the source was asked on every server. */
  readonly firstLoadMs: number;
  /** Reads of all ids on every server at once. */
  readonly reads: readonly Attempt[];
  /** The most loads that one server had under way at once, while many more waited. */
  readonly peakInFlight: number;
  readonly updates: readonly Attempt[];
  /** How many of the updates came to the source. */
  readonly saves: number;
}

/** How something ended, and when. */
interface Attempt {
  /** "done", or the code of the error, or its message, or "unanswered". */
  readonly outcome: unknown;
  readonly elapsedMs: number;
}

export interface Gone {
  readonly fault: Fault;
  /** Which of the proxy's counts tells that the fault has happened. */
  readonly seenIn: keyof FaultCounts;
  /** How many loads one server may have under way. */
  readonly maxInFlight: number;
}

/** A command has a quarter of a second; the rest is for a busy machine. */
const answeredWithinMs = 3_000;

/**
 * G7: while the fault lasts, each server reads all ids, first from a source that does not answer, then from one that
 * does, and updates one.
 *
 * @throws {Error} if the fault did not happen
 */
export async function withoutRedis(
  caches: readonly CacheOnServer[],
  { history, ids, proxy }: { history: History; ids: readonly string[]; proxy: FaultProxy },
  { fault, seenIn, maxInFlight }: Gone,
): Promise<Outage> {
  const records = recordsOf(caches);
  const seenBefore = proxy.counts[seenIn];
  const savesBefore = records.saves;
  await proxy.set(fault);
  try {
    records.peakInFlight = 0;
    const start = performance.now();
    let firstLoadMs = Infinity;
    const barriers = ids.map((id) => records.holdLoads(id));
    const held: Promise<void>[] = [];
    const read = (id: string) =>
      caches.map((cache) => {
        const reading = history.read(cache, id);
        // Nobody waits for it if the source is never asked; that is the failure to tell.
        reading.catch(() => undefined);
        return reading;
      });
    // One after the other, as what is asked for together is loaded together.
    for (const [index, id] of ids.slice(0, maxInFlight).entries()) {
      held.push(...read(id));
      await eventually("the source is asked", () => barriers[index]?.waiting.length === caches.length, {
        withinMs: answeredWithinMs,
      });
      firstLoadMs = Math.min(firstLoadMs, performance.now() - start);
    }
    held.push(...ids.slice(maxInFlight).flatMap(read));
    // Refused after the reads have given up Redis, as they were sent later.
    const updates = await Promise.all(caches.map((cache) => attempt(cache.update(ids[0] ?? "", records.nextValue()))));
    for (const barrier of barriers) barrier.release();
    await Promise.all(held);

    const reads = await Promise.all(ids.flatMap(read).map(attempt));
    if (proxy.counts[seenIn] === seenBefore) throw new Error("The fault did not happen.");
    const { peakInFlight, saves } = records;
    return { firstLoadMs, reads, peakInFlight, updates, saves: saves - savesBefore };
  } finally {
    await proxy.set("pass");
  }
}

async function attempt(work: Promise<void>): Promise<Attempt> {
  const start = performance.now();
  const outcome = await Promise.race([
    work.then(
      () => "done",
      (error: unknown) => codeOf(error),
    ),
    delay(answeredWithinMs, "unanswered", { ref: false }),
  ]);
  return { outcome, elapsedMs: performance.now() - start };
}

function codeOf(error: unknown): unknown {
  const { code, message } = error as Error & { code?: unknown };
  return code ?? message;
}
