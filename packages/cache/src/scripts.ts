import { type CircuitBreaker, type RedisClient, readScript, runReadOnlyScript, runScript } from "@lockstep/redis-kit";
import { revisionIn } from "./codec.ts";
import { type EntryRules, type Fill, type FillOutcome, type ReadReply, unkeptMs } from "./drivers/driver.ts";
import type { EntryKeys } from "./keys.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const epoch = file("epoch");
const pending = file("pending");
const entry = file("entry");

const read = readScript(epoch, pending, entry, file("read"));
const store = readScript(epoch, pending, entry, file("store"));
const begin = readScript(epoch, pending, file("begin"));
const end = readScript(epoch, pending, file("end"));
const drop = readScript(pending, file("drop"));
const replica = readScript(file("replica"));
const sweep = readScript(pending, file("sweep"));

/** An entry starts with its epoch and a space. */
const epochLength = 16;

/** How old an epoch must be before it is trusted with fills: C9. */
export interface EpochAge {
  readonly ageMs: number;
  /** Epochs known for that long. */
  readonly witnessed: string;
}

/** What `read.lua` answers for one entry. */
type RawReply = string | [text: string, leftMs: number] | [text: string, leftMs: number, refresh: string];

/**
 * Reads entries of one slot: `read.lua`. Of `token` each entry that may be filled gets its own.
 *
 * @param options `onLate`: given the replies that come after the read has failed
 */
export async function readEntries(
  commands: CircuitBreaker,
  keys: readonly EntryKeys[],
  rules: EntryRules,
  options: { token: string; epochAge: EpochAge; onLate: (replies: readonly ReadReply[]) => void },
): Promise<{ epoch: string; replies: ReadReply[] }> {
  const { token, epochAge, onLate } = options;
  const args = [
    ...[token, rules.tokenLifeMs, epochAge.ageMs, epochAge.witnessed],
    ...[revisionIn(rules.revision), rules.extraMs, rules.asksLife ? "life" : ""],
  ];
  let isLate = false;
  const run = async (client: RedisClient) => {
    const [found, ...raw] = (await runScript(client, read, keys.flatMap(both), args)) as [string, ...RawReply[]];
    const replies = raw.map((reply, index) => readReply(reply, `${token}:${index + 1}`));
    if (isLate) onLate(replies);
    return { epoch: found, replies };
  };
  try {
    return await commands.send("the read of entries", run);
  } catch (error) {
    isLate = true;
    throw error;
  }
}

function readReply(reply: RawReply, token: string): ReadReply {
  if (typeof reply === "string") {
    if (reply === "fill") return { outcome: "fill", token };
    if (reply === "unkept" || reply === "busy" || reply === "pending") return { outcome: reply };
    if (reply === "young" || reply === "full") return { outcome: reply };
    return { outcome: "hit", text: reply.slice(epochLength + 1) };
  }
  const [text, leftMs, refresh] = reply;
  if (refresh === undefined) {
    return { outcome: "hit", text: text.slice(epochLength + 1), leftMs, epoch: text.slice(0, epochLength) };
  }
  const who = refresh === "running" || refresh === "failed" ? refresh : { token };
  return { outcome: "expired", text, overdueMs: -leftMs, refresh: who };
}

/** What `replica.lua` answers. */
export interface ReplicaAnswer {
  /** The history of writes that the replica is in; empty: it is no replica. */
  readonly replicationId: string;
  /** How far in that it is, in bytes. */
  readonly offset: number;
  /** Empty texts where there is none; `leftMs` with the rules' `extraMs`. */
  readonly entries: readonly { readonly epoch: string; readonly text: string; readonly leftMs: number }[];
}

/** Reads entries of one slot from a replica: `replica.lua`. */
export async function readReplica(commands: CircuitBreaker, keys: readonly string[]): Promise<ReplicaAnswer> {
  const run = (client: RedisClient) => runReadOnlyScript(client, replica, keys, []);
  const reply = (await commands.send("the read of entries from a replica", run)) as (string | number)[];
  const entries = keys.map((_, index) => {
    const entry = String(reply[2 + 2 * index]);
    const leftMs = Number(reply[3 + 2 * index]);
    return { epoch: entry.slice(0, epochLength), text: entry.slice(epochLength + 1), leftMs };
  });
  return { replicationId: String(reply[0]), offset: Number(reply[1]), entries };
}

/** Stores what was loaded for entries of one slot: `store.lua`. */
export async function storeEntries(
  commands: CircuitBreaker,
  fills: readonly Fill[],
  { extraMs }: EntryRules,
): Promise<FillOutcome[]> {
  const keys = fills.map(({ key }) => key);
  const args = fills.flatMap(({ token, result }) => [token, ...storeArguments(result, extraMs)]);
  const run = (client: RedisClient) => runScript(client, store, keys, args);
  return (await commands.send("the storing of entries", run)) as FillOutcome[];
}

function storeArguments(result: Fill["result"], extraMs: number): [action: string, ms: number, text: string] {
  if (typeof result === "string") return [result, unkeptMs, ""];
  return "text" in result ? ["store", result.lifeMs + extraMs, result.text] : [result.outcome, result.pauseMs, ""];
}

/** A write begins: `begin.lua`. */
export async function beginWrite(
  commands: CircuitBreaker,
  keys: EntryKeys,
  options: { token: string; pendingMs: number; epochAge: EpochAge; maxPending: number },
): Promise<{ epoch: string; outcome: "begun" | "crowded" }> {
  const { token, pendingMs, epochAge, maxPending } = options;
  const args = [token, pendingMs, epochAge.ageMs, epochAge.witnessed, maxPending];
  const run = (client: RedisClient) => runScript(client, begin, both(keys), args);
  const [found, outcome] = (await commands.send("the begin of a write", run)) as [string, "begun" | "crowded"];
  return { epoch: found, outcome };
}

/** A write ends, and what it gave is stored where that is safe: `end.lua`. Without `kept` nothing is. */
export async function endWrite(
  commands: CircuitBreaker,
  keys: EntryKeys,
  write: { token: string; epoch: string; kept: { text: string; lifeMs: number } | undefined },
): Promise<"stored" | "dropped" | "lapsed"> {
  const { token, epoch: begun, kept } = write;
  const args = [token, begun, kept?.text ?? "", kept?.lifeMs ?? 0];
  const run = (client: RedisClient) => runScript(client, end, both(keys), args);
  return (await commands.send("the end of a write", run)) as "stored" | "dropped" | "lapsed";
}

/** Drops entries of one slot: `drop.lua`. */
export async function dropEntries(commands: CircuitBreaker, keys: readonly EntryKeys[]): Promise<void> {
  await commands.send("an invalidation", (client) => runScript(client, drop, keys.flatMap(both), []));
}

/** Deletes the marks of one slot whose writes have all lapsed: `sweep.lua`. Answers how many are gone. */
export async function sweepMarks(commands: CircuitBreaker, marks: readonly string[]): Promise<number> {
  return (await commands.send("a sweep of marks", (client) => runScript(client, sweep, marks, []))) as number;
}

function both({ entry, mark }: EntryKeys): [string, string] {
  return [entry, mark];
}
