import { type CircuitBreaker, type RedisClient, type Script, readScript, runScript } from "@lockstep/redis-kit";
import { revisionIn } from "./codec.ts";
import type { Fill, FillOutcome, ReadReply } from "./drivers/driver.ts";
import type { EntryKeys, PartitionKeys, RowKeys } from "./keys.ts";
import type { EpochAge } from "./scripts.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const beginning = [file("epoch"), file("queue-row")];

const set = readScript(...beginning, file("queue-accept"), file("queue-set"));
const increment = readScript(...beginning, file("queue-accept"), file("queue-increment"));
const read = readScript(...beginning, file("queue-read"));
const store = readScript(...beginning, file("queue-store"));
const claim = readScript(...beginning, file("queue-lease"), file("queue-claim"));
const take = readScript(...beginning, file("queue-lease"), file("queue-take"));
const settle = readScript(...beginning, file("queue-lease"), file("queue-settle"));
const fail = readScript(...beginning, file("queue-lease"), file("queue-fail"));
const release = readScript(file("queue-release"));
const look = readScript(...beginning, file("queue-look"));
const retry = readScript(...beginning, file("queue-retry"));

/** What precedes the version in an entry, or the token: a letter, the epoch, a space. */
const startLength = 18;

/** A write that asks to be accepted. */
export interface WriteRequest {
  readonly keys: RowKeys;
  readonly token: string;
  readonly safeEpochs: string;
  /** Until when it may run, in µs on Redis' clock. */
  readonly notAfter: number;
  readonly flushAfterMs: number;
  readonly maxRows: number;
}

/** What became of it, and when on Redis' clock, in µs. */
export type WriteReply = { readonly epoch: string; readonly time: number } & (
  | { readonly outcome: "accepted"; readonly version: number; readonly isCoalesced: boolean; readonly text: string }
  | { readonly outcome: "unknown" | "late" | "full" | "absent" | "invalid" }
);

/** Accepts a value: `queue-set.lua`. */
export async function setRow(commands: CircuitBreaker, request: WriteRequest, text: string): Promise<WriteReply> {
  return accept(commands, set, request, [text]);
}

/** Accepts a number that is larger than the old one: `queue-increment.lua`. */
export async function incrementRow(
  commands: CircuitBreaker,
  request: WriteRequest,
  { by, revision }: { by: number; revision: number },
): Promise<WriteReply> {
  return accept(commands, increment, request, [by, `v${revisionIn(revision)}`]);
}

async function accept(
  commands: CircuitBreaker,
  script: Script,
  { keys, token, safeEpochs, notAfter, flushAfterMs, maxRows }: WriteRequest,
  args: readonly (string | number)[],
): Promise<WriteReply> {
  const { clock, queue, since, failures, dead, token: tokenKey } = keys.partition;
  const all = [keys.entry, tokenKey(token), clock, queue, since, failures, dead];
  const given = [safeEpochs, Math.floor(notAfter), flushAfterMs, maxRows, keys.row, ...args];
  const run = (client: RedisClient) => runScript(client, script, all, given);
  const [epoch, time, outcome, ...rest] = (await commands.send("a write", run)) as [
    string,
    string,
    string,
    ...string[],
  ];
  const at = { epoch, time: Number(time) };
  if (outcome !== "accepted") return { ...at, outcome: outcome as "late" };
  const [version, place, text = ""] = rest;
  return { ...at, outcome, version: Number(version), isCoalesced: place === "coalesced", text };
}

/**
 * Reads entries of one slot: `queue-read.lua`. Of `token` each entry that may be filled gets its own.
 *
 * @param options `onLate`: given the replies that come after the read has failed
 */
export async function readRows(
  commands: CircuitBreaker,
  keys: readonly EntryKeys[],
  options: { token: string; tokenLifeMs: number; onLate: (replies: readonly ReadReply[]) => void },
): Promise<{ epoch: string; replies: ReadReply[] }> {
  const { token, tokenLifeMs, onLate } = options;
  const entries = keys.map(({ entry }) => entry);
  let isLate = false;
  const run = async (client: RedisClient) => {
    const [epoch, ...raw] = (await runScript(client, read, entries, [token, tokenLifeMs])) as [string, ...string[]];
    const replies = raw.map((reply, index) => readReply(reply, `${token}:${index + 1}`));
    if (isLate) onLate(replies);
    return { epoch, replies };
  };
  try {
    return await commands.send("the read of entries", run);
  } catch (error) {
    isLate = true;
    throw error;
  }
}

function readReply(reply: string, token: string): ReadReply {
  if (reply === "fill") return { outcome: "fill", token };
  if (reply === "busy" || reply === "full") return { outcome: reply };
  return { outcome: "hit", text: partsOf(reply.slice(startLength)).text };
}

function partsOf(versionAndText: string): { version: string; text: string } {
  const end = versionAndText.indexOf(" ");
  return { version: versionAndText.slice(0, end), text: versionAndText.slice(end + 1) };
}

/** Stores what was loaded for entries of one slot, or gives tokens back: `queue-store.lua`. */
export async function storeRows(commands: CircuitBreaker, fills: readonly Fill[]): Promise<FillOutcome[]> {
  const args = fills.flatMap(({ token, result }) =>
    typeof result === "object" && "text" in result ? [token, result.lifeMs, result.text] : [token, 0, ""],
  );
  const keys = fills.map(({ key }) => key);
  const run = (client: RedisClient) => runScript(client, store, keys, args);
  return (await commands.send("the storing of entries", run)) as FillOutcome[];
}

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
 * Takes or renews the lease of a partition that has rows: `queue-claim.lua`.
 *
 * @param options `count`: of how many rows to tell; `dueBy`: what is due by then is due now, in ms on Redis' clock
 */
export async function claimRows(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  { count, dueBy, epochAge }: { count: number; dueBy: number; epochAge: EpochAge },
): Promise<Claim> {
  const args = [token, leaseMs, count, dueBy, epochAge.ageMs, epochAge.witnessed];
  const run = (client: RedisClient) => runScript(client, claim, [partition.lease, partition.queue], args);
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

/** Hands out rows to be saved, or the first of them: `queue-take.lua`. `takenAt`: on Redis' clock, in ms. */
export async function takeRows(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  { rows, maxBytes }: { rows: readonly string[]; maxBytes: number },
): Promise<{ readonly takenAt: number; readonly rows: TakenRow[] } | "lost"> {
  const run = (client: RedisClient) =>
    runScript(client, take, flushKeys(partition, rows), [token, leaseMs, maxBytes, ...rows]);
  const reply = (await commands.send("the taking of rows", run)) as string[] | "lost";
  if (reply === "lost") return reply;
  const [takenAt, ...texts] = reply;
  const taken = texts.map((text, index) => ({ row: rows[index] ?? "", ...partsOf(text) }));
  return { takenAt: Number(takenAt), rows: taken.filter((_, index) => texts[index] !== "") };
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

/** A row could not be saved, alone: `queue-fail.lua`. `savedAgoMs`: how long ago the source had saved another when it was tried; -1: it had not. */
export async function failRow(
  commands: CircuitBreaker,
  { partition, token, leaseMs }: Holder,
  { row, version }: TakenRow,
  options: { savedAgoMs: number; maxAttempts: number; firstPauseMs: number; maxPauseMs: number },
): Promise<"waiting" | "dead" | "lost"> {
  const { lease, queue, since, failures, dead, entry } = partition;
  const { savedAgoMs, maxAttempts, firstPauseMs, maxPauseMs } = options;
  const args = [token, leaseMs, row, version, savedAgoMs, maxAttempts, firstPauseMs, maxPauseMs];
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

/** How much waits in a partition. */
export interface PartitionBacklog {
  /** On Redis' clock, in ms. */
  readonly time: number;
  readonly rows: number;
  /** -1: there is none. */
  readonly oldestMs: number;
  readonly deadLetters: number;
}

/** Tells how much waits in a partition: `queue-look.lua`. `by`: only rows that have been waiting since then are counted. */
export async function lookAtPartition(
  commands: CircuitBreaker,
  { since, dead }: PartitionKeys,
  by: number | "+inf" = "+inf",
): Promise<PartitionBacklog> {
  const run = (client: RedisClient) => runScript(client, look, [since, dead], [by]);
  const reply = (await commands.send("a look at a backlog", run)) as [number, number, number, number];
  const [time, rows, oldestMs, deadLetters] = reply;
  return { time, rows, oldestMs, deadLetters };
}

/** Queues dead letters again: `queue-retry.lua`. Answers how many. */
export async function retryRows(
  commands: CircuitBreaker,
  { dead, queue, since }: PartitionKeys,
  rows: readonly string[],
): Promise<number> {
  const run = (client: RedisClient) => runScript(client, retry, [dead, queue, since], rows);
  return (await commands.send("the retry of dead letters", run)) as number;
}
