import { type CircuitBreaker, type RedisClient, readScript, runScript } from "@lockstep/redis-kit";
import type { EntryKeys } from "./keys.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const epoch = file("epoch");
const pending = file("pending");

const read = readScript(epoch, pending, file("read"));
const store = readScript(epoch, file("store"));
const begin = readScript(epoch, pending, file("begin"));
const end = readScript(epoch, pending, file("end"));
const drop = readScript(pending, file("drop"));
const sweep = readScript(pending, file("sweep"));

/** An entry starts with its epoch and a space. */
const epochLength = 16;

/** How old an epoch must be before it is trusted with fills: C9. */
export interface EpochAge {
  readonly ageMs: number;
  /** Epochs known for that long. */
  readonly witnessed: string;
}

/** What a read found: the text of an entry, a token to fill it with, or why there is neither. */
export type ReadReply =
  | { readonly outcome: "hit"; readonly text: string }
  | { readonly outcome: "fill"; readonly token: string }
  | { readonly outcome: "busy" | "pending" | "young" | "full" };

/**
 * Reads entries of one slot: `read.lua`. Of `token` each entry that may be filled gets its own.
 *
 * @param options `onLate`: given the replies that come after the read has failed
 */
export async function readEntries(
  commands: CircuitBreaker,
  keys: readonly EntryKeys[],
  options: { token: string; tokenLifeMs: number; epochAge: EpochAge; onLate: (replies: readonly ReadReply[]) => void },
): Promise<{ epoch: string; replies: ReadReply[] }> {
  const { token, tokenLifeMs, epochAge, onLate } = options;
  const args = [token, tokenLifeMs, epochAge.ageMs, epochAge.witnessed];
  let isLate = false;
  const run = async (client: RedisClient) => {
    const [found = "", ...texts] = (await runScript(client, read, keys.flatMap(both), args)) as string[];
    const replies = texts.map((text, index) => readReply(text, `${token}:${index + 1}`));
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

function readReply(text: string, token: string): ReadReply {
  if (text === "fill") return { outcome: "fill", token };
  if (text === "busy" || text === "pending" || text === "young" || text === "full") return { outcome: text };
  return { outcome: "hit", text: text.slice(epochLength + 1) };
}

/** What was loaded for an entry; without `text` the token is given back. */
export interface Fill {
  readonly key: string;
  readonly token: string;
  readonly text?: string;
  readonly lifeMs: number;
}

/** Stores what was loaded for entries of one slot: `store.lua`. */
export async function storeEntries(
  commands: CircuitBreaker,
  fills: readonly Fill[],
): Promise<("stored" | "released" | "refused")[]> {
  const keys = fills.map(({ key }) => key);
  const args = fills.flatMap(({ token, text, lifeMs }) =>
    text === undefined ? [token, "", 0] : [token, text, lifeMs],
  );
  const run = (client: RedisClient) => runScript(client, store, keys, args);
  return (await commands.send("the storing of entries", run)) as ("stored" | "released" | "refused")[];
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

/** A write ends, and what it gave is stored where that is safe: `end.lua`. Without `text` nothing is. */
export async function endWrite(
  commands: CircuitBreaker,
  keys: EntryKeys,
  write: { token: string; epoch: string; text?: string; lifeMs: number },
): Promise<"stored" | "dropped" | "lapsed"> {
  const args = [write.token, write.epoch, write.text ?? "", write.lifeMs];
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
