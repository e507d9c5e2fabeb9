import { type CircuitBreaker, type RedisClient, readScript, runScript } from "@lockstep/redis-kit";
import type { PartitionKeys } from "./keys.ts";
import { partsOf } from "./queue-scripts.ts";
import type { EpochAge } from "./scripts.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const beginning = [file("epoch"), file("queue-row"), file("queue-lease")];

const claim = readScript(...beginning, file("queue-times"), file("queue-claim"));
const take = readScript(...beginning, file("queue-take"));
const settle = readScript(...beginning, file("queue-settle"));
const fail = readScript(...beginning, file("queue-fail"));
const release = readScript(file("queue-release"));

/** Who saves the rows of a partition. */
export interface Holder {
  readonly partition: PartitionKeys;
  readonly token: string;
  readonly leaseMs: number;
}

/** What a claim has given: `time` on Redis' clock, in ms. */
export type Claim = { readonly epoch: string; readonly time: number } & (
  | { readonly outcome: "held"; readonly nextDue: number; readonly rows: readonly string[] }
  | { readonly outcome: "idle" | "taken" | "young" }
);

/**
 * Takes or renews the lease of a partition that has rows, and gives it back where there are none: `queue-claim.lua`.
 *
 * @param options `count`: of how many rows to tell; `longestWaitMs`: how long a row is told to wait at most; `isDone`: no save is
 * under way
 */
export async function claimRows(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  options: { count: number; longestWaitMs: number; epochAge: EpochAge; isDone: boolean },
): Promise<Claim> {
  const { count, longestWaitMs, epochAge, isDone } = options;
  const { lease, queue, since, hurry, failures } = partition;
  const args = [token, leaseMs, count, longestWaitMs, epochAge.ageMs, epochAge.witnessed, isDone ? "done" : ""];
  const run = (client: RedisClient) => runScript(client, claim, [lease, queue, since, hurry, failures], args);
  const [epoch, time, outcome, nextDue, ...rows] = (await commands.send("the claim of rows", run)) as string[];
  const at = { epoch: epoch ?? "", time: Number(time) / 1_000 };
  return outcome === "held"
    ? { ...at, outcome, nextDue: Number(nextDue), rows }
    : { ...at, outcome: outcome as "idle" };
}

/** A row that was handed out to be saved. */
export interface TakenRow {
  /** Its name in the queue. */
  readonly row: string;
  readonly version: string;
  readonly text: string;
}

/**
 * Hands out rows to be saved, or the first of them: `queue-take.lua`. Answers `takenAt`, on Redis' clock, in ms, and how many values have
 * vanished.
 */
export async function takeRows(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  { rows, maxBytes }: { rows: readonly string[]; maxBytes: number },
): Promise<{ readonly takenAt: number; readonly rows: TakenRow[]; readonly vanished: number } | "lost"> {
  const run = (client: RedisClient) =>
    runScript(client, take, flushKeys(partition, rows), [token, leaseMs, maxBytes, ...rows]);
  const reply = (await commands.send("the taking of rows", run)) as string[] | "lost";
  if (reply === "lost") return reply;
  const [takenAt, ...texts] = reply;
  const taken = texts.flatMap((text, index) => (text === "" ? [] : [{ row: rows[index] ?? "", ...partsOf(text) }]));
  return { takenAt: Number(takenAt), rows: taken, vanished: texts.length - taken.length };
}

function flushKeys({ lease, queue, since, failures, entry }: PartitionKeys, rows: readonly string[]): string[] {
  return [lease, queue, since, failures, ...rows.map(entry)];
}

/** Rows are saved: `queue-settle.lua`. Answers for how long each has waited, in ms, or -1: a newer value waits. */
export async function settleRows(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  options: {
    rows: readonly (TakenRow & { readonly lifeMs: number })[];
    takenAt: number;
    flushAfterMs: number;
  },
): Promise<readonly number[] | "lost"> {
  const { rows, takenAt, flushAfterMs } = options;
  const names = rows.map(({ row }) => row);
  const args = rows.flatMap(({ row, version, lifeMs }) => [row, version, lifeMs]);
  const run = (client: RedisClient) =>
    runScript(client, settle, flushKeys(partition, names), [token, leaseMs, takenAt, flushAfterMs, ...args]);
  return (await commands.send("the settling of rows", run)) as number[] | "lost";
}

/**
 * A row could not be saved, alone: `queue-fail.lua`.
 *
 * @param options `savedAt`: when the source had last saved another when this was tried, in ms on Redis' clock; -1: it had not
 */
export async function failRow(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  { row, version }: TakenRow,
  options: { savedAt: number; maxAttempts: number; firstPauseMs: number; maxPauseMs: number },
): Promise<"waiting" | "dead" | "lost"> {
  const { lease, queue, since, failures, dead, entry } = partition;
  const { savedAt, maxAttempts, firstPauseMs, maxPauseMs } = options;
  const args = [token, leaseMs, row, version, savedAt, maxAttempts, firstPauseMs, maxPauseMs];
  const keys = [lease, queue, since, failures, dead, entry(row)];
  return (await commands.send("the putting back of a row", (client) =>
    runScript(client, fail, keys, args),
  )) as "waiting";
}

/** Gives a lease back: `queue-release.lua`. */
export async function releaseLease(commands: CircuitBreaker, { partition, token }: Holder): Promise<void> {
  // By its text: whoever closes a cache closes its client next, and has no time to be told that the digest is not known.
  await commands.send("the release of a lease", (client) => client.eval(release.text, 1, partition.lease, token));
}
