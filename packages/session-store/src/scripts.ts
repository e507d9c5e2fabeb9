import { isUtf8 } from "node:buffer";
import {
  type CircuitBreaker,
  CommandError,
  type RedisClient,
  type Script,
  type Sender,
  type Writer,
  readScript,
  runScript,
} from "@lockstep/redis-kit";

const file = (verb: string) => new URL(`../lua/${verb}.lua`, import.meta.url);
const script = (verb: string) => readScript(file(verb));
const finish = (verb: string) => readScript(...["epoch", "pending", "finish", verb].map(file));

/** This package's scripts, by what they do. */
export const scripts = {
  load: script("load"),
  commit: script("commit"),
  touch: script("touch"),
  destroy: script("destroy"),
  overwrite: script("overwrite"),
  admit: script("admit"),
  promote: script("promote"),
  trim: script("trim"),
};

/** The same where servers keep near copies: writes in two steps. */
const nearScripts = {
  load: readScript(file("pending"), file("load-near")),
  begin: readScript(file("epoch"), file("pending"), file("begin")),
  commit: finish("commit"),
  destroy: finish("destroy"),
  overwrite: finish("overwrite"),
};

/** What a record holds, and how much longer. */
export interface RecordReply {
  /** As it is stored: encrypted or a forward, perhaps. */
  readonly raw: string;
  /** `undefined`: it does not expire. */
  readonly remainingMs: number | undefined;
  /** C4, C9: the epoch in which a near copy may be made of it; empty: none may. */
  readonly mayKeepIn?: string;
}

/** A write that has begun, as its finish names it: where servers keep near copies. */
export interface BegunWrite {
  /** The key of the record's mark. */
  readonly mark: string;
  readonly token: string;
  /** C9: of the primary that it began on. */
  readonly epoch: string;
}

/** A finish finds that its write is pending no more, or not where it began: it must begin again. */
export class Superseded extends Error {}

/** What became of a commit; `isNew`: by this, and not by an earlier sending of it. */
export type CommitReply =
  | { readonly outcome: "stored"; readonly isNew: boolean }
  | { readonly outcome: "gone" }
  | { readonly outcome: "conflict"; readonly current: string };

/** What other servers are told with a change: a message for a channel; an empty one is not sent. */
export interface Told {
  readonly channel: string;
  readonly message: string;
}

/** S11: stands for a record that is no text. Like any other that can't be read, it is corrupt wherever it is used. */
const unreadable: RecordReply = { raw: "\uFFFD", remainingMs: undefined };

/**
 * Reads records and their remaining lives: `load.lua`. A raw text is empty where the session was just destroyed.
 *
 * @param marks the key of each record's mark, where it is to be told which may become near copies: `load-near.lua`
 */
export async function loadRecords(
  commands: CircuitBreaker,
  keys: readonly string[],
  marks?: readonly string[],
): Promise<(RecordReply | undefined)[]> {
  const load = (client: RedisClient) =>
    marks ? runScript(client, nearScripts.load, [...keys, ...marks], []) : runScript(client, scripts.load, keys, []);
  return ((await commands.send("the load of sessions", load)) as unknown[]).map(recordOf);
}

function recordOf(reply: unknown): RecordReply | undefined {
  if (reply === null) return undefined;
  if (!Array.isArray(reply)) return unreadable;
  const [raw, life, mayKeepIn] = reply as [string, number | string, string?];
  const remainingMs = Number(life); // a client with ioredis' `stringNumbers` gives text
  const record = { raw, remainingMs: remainingMs < 0 ? undefined : remainingMs };
  return mayKeepIn === undefined ? record : { ...record, mayKeepIn };
}

/** What is no UTF-8 has become U+FFFD, and would never compare as equal again. It may also stand there rightly. */
export function unlessNoText(
  commands: CircuitBreaker,
  key: string,
  record: RecordReply | undefined,
): RecordReply | undefined | Promise<RecordReply> {
  return record?.raw.includes("\uFFFD") ? lookAgain(commands, key, record) : record;
}

async function lookAgain(commands: CircuitBreaker, key: string, record: RecordReply): Promise<RecordReply> {
  const look = (client: RedisClient) => client.getBuffer(key);
  const bytes = await unlessNoString(commands.send("a look at a session's bytes", look));
  return bytes instanceof Uint8Array && !isUtf8(bytes) ? unreadable : record;
}

/** The reply of a command on a string, or that something else is there: it is not Redis that has failed. */
export async function unlessNoString<T>(reply: Promise<T>): Promise<T | "no string"> {
  return reply.catch((error: unknown) => {
    if (error instanceof CommandError && error.replyCode === "WRONGTYPE") return "no string";
    throw error;
  });
}

/**
 * Stores a record if it is still `expected`: `commit.lua`.
 *
 * @param write `expected`: the raw text as last seen, or `undefined` if there was none; `lifeMs`: `Infinity` for no expiry,
 * `"kept"` for that of the text it replaces.
 */
export async function commitRecord(
  commands: Sender<Writer>,
  key: string,
  write: { expected: string | undefined; raw: string; lifeMs: number | "kept"; told: Told },
  withinMs: number,
  begun?: BegunWrite,
): Promise<CommitReply> {
  const { channel, message } = write.told;
  const life = write.lifeMs === "kept" ? write.lifeMs : inMs(write.lifeMs);
  const args = [write.expected ?? "", write.raw, life, channel, message];
  const reply = await commands.send("the commit of a session", writing("commit", key, args, begun), withinMs);
  throwIfSuperseded(reply);
  if (Array.isArray(reply)) return { outcome: "conflict", current: reply[1] as string };
  return reply === "gone" ? { outcome: "gone" } : { outcome: "stored", isNew: reply === "stored" };
}

/** Lengthens a record's life to `lifeMs`, where there is one: `touch.lua`. `Infinity`: only asks whether it is there. */
export async function touchRecord(
  commands: CircuitBreaker,
  key: string,
  lifeMs: number,
): Promise<"touched" | "gone" | "moved"> {
  const run = (client: RedisClient) => runScript(client, scripts.touch, [key], [inMs(lifeMs)]);
  return (await commands.send("the touch of a session", run)) as "touched" | "gone" | "moved";
}

/**
 * Ends a session, and leaves an empty text for `tombstoneMs`: `destroy.lua`.
 *
 * @param how `whole`: a forward ends too; else it stays
 * @returns the raw text that was there
 */
export async function destroyRecord(
  commands: Sender<Writer>,
  key: string,
  { tombstoneMs, told, whole }: { tombstoneMs: number; told: Told; whole: boolean },
  withinMs?: number,
  begun?: BegunWrite,
): Promise<string | undefined> {
  const args = [inMs(tombstoneMs), told.channel, told.message, whole ? "whole" : "record"];
  const run = writing("destroy", key, args, begun);
  const reply = await commands.send("the destruction of a session", run, withinMs);
  throwIfSuperseded(reply);
  return (reply as string | null) ?? undefined;
}

/** Stores a record whatever is there: `overwrite.lua`. */
export async function overwriteRecord(
  commands: Sender<Writer>,
  key: string,
  { raw, lifeMs }: { raw: string; lifeMs: number },
  withinMs?: number,
  begun?: BegunWrite,
): Promise<void> {
  const run = writing("overwrite", key, [raw, inMs(lifeMs)], begun);
  throwIfSuperseded(await commands.send("the storing of a session", run, withinMs));
}

/**
 * Begins a write of a record that servers may have near copies of: `begin.lua`.
 *
 * @param write `ends`: it ends the session
 * @returns the epoch; `crowded`: too many writes of it are pending
 */
export async function beginWrite(
  commands: CircuitBreaker,
  { mark, token }: { mark: string; token: string },
  { pendingMs, maxPending, ends }: { pendingMs: number; maxPending: number; ends: boolean },
  withinMs: number,
): Promise<{ epoch: string; outcome: "begun" | "crowded" }> {
  const args = [token, pendingMs, maxPending, ends ? "end" : ""];
  const run = (client: RedisClient) => runScript(client, nearScripts.begin, [mark], args);
  const reply = await commands.send("the begin of a session's write", run, withinMs);
  const [epoch, outcome] = reply as [string, "begun" | "crowded"];
  return { epoch, outcome };
}

/** Takes the token of a write out of its mark that will not be finished. */
export async function leaveMark(commands: CircuitBreaker, { mark, token }: BegunWrite): Promise<void> {
  await commands.send("the end of a session's write", (client) => client.hdel(mark, token));
}

/** Runs a script that writes a record: as the finish of a write, where that has begun. */
function writing(
  verb: "commit" | "destroy" | "overwrite",
  key: string,
  args: readonly (string | number)[],
  begun: BegunWrite | undefined,
): (client: Writer) => Promise<unknown> {
  if (begun === undefined) return (client) => runScript(client, scripts[verb], [key], args);
  return (client) => runFinish(client, nearScripts[verb], key, args, begun);
}

function runFinish(
  client: Writer,
  script: Script,
  key: string,
  args: readonly (string | number)[],
  { mark, token, epoch }: BegunWrite,
): Promise<unknown> {
  return runScript(client, script, [key, mark], [...args, token, epoch]);
}

function throwIfSuperseded(reply: unknown): void {
  if (Array.isArray(reply) && reply[0] === "superseded") throw new Superseded();
}

/** A row of a user's index. */
export interface NamedRow {
  readonly row: string;
  /** Of a draft: the row of the session that it is a draft of. */
  readonly origin: string | undefined;
}

/** Adds a row to a user's index: `admit.lua`. `max`: how many sessions, or drafts, there may be. */
export async function admitRow(
  commands: Sender<Writer>,
  index: string,
  { row, origin = "", max }: NamedRow & { max: number },
  withinMs: number,
): Promise<"added" | "full" | "stale"> {
  const run = (client: Writer) => runScript(client, scripts.admit, [index], [row, max, origin]);
  return (await commands.send("the indexing of a session", run, withinMs)) as "added" | "full" | "stale";
}

/** Makes a draft's row that of its session: `promote.lua`. */
export async function promoteRow(
  commands: Sender<Writer>,
  index: string,
  { row, origin }: { row: string; origin: string },
): Promise<"promoted" | "none"> {
  const run = (client: Writer) => runScript(client, scripts.promote, [index], [row, origin]);
  return (await commands.send("the indexing of a session", run)) as "promoted" | "none";
}

/**
 * Takes a row out of a user's index, if it was added `settledMs` ago or earlier; 0: in any case. `trim.lua`.
 *
 * @returns what became of it, and the rows of its drafts
 */
export async function trimRow(
  commands: CircuitBreaker,
  index: string,
  { row, origin = "", settledMs }: NamedRow & { settledMs: number },
): Promise<{ verdict: "trimmed" | "young" | "none"; drafts: readonly string[] }> {
  const args = [row, Math.ceil(settledMs), origin];
  const run = (client: RedisClient) => runScript(client, scripts.trim, [index], args);
  const [verdict, ...drafts] = (await commands.send("the trimming of an index", run)) as [
    "trimmed" | "young" | "none",
    ...string[],
  ];
  return { verdict, drafts };
}

/** The longest time that is told to Redis, in ms: 31,000 years, which is for ever. */
const longestMs = 1e15;

/** A time as Redis takes it, whole and above 0. Without end: -1, since what rounds to 0 must not become that. */
function inMs(timeMs: number): number {
  return timeMs > longestMs ? -1 : Math.max(1, Math.ceil(timeMs));
}
