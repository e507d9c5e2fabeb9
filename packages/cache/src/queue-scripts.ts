import {
  type CircuitBreaker,
  type RedisClient,
  type Script,
  type Sender,
  type Writer,
  readScript,
  runScript,
} from "@lockstep/redis-kit";
import { revisionIn } from "./codec.ts";
import type { Fill, FillOutcome, ReadReply } from "./drivers/driver.ts";
import type { EntryKeys, RowKeys } from "./keys.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const beginning = [file("epoch"), file("queue-row")];

const set = readScript(...beginning, file("queue-accept"), file("queue-set"));
const increment = readScript(...beginning, file("queue-accept"), file("queue-increment"));
const read = readScript(...beginning, file("queue-read"));
const store = readScript(...beginning, file("queue-store"));

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

/** A write that was refused for one of these reasons; for none: there is no such write. */
export type RefusedFor<Refusal extends string> = Refusal extends string ? { readonly outcome: Refusal } : never;

/** What became of it, and when on Redis' clock, in µs; `Refusal`: why only some are refused. */
export type WriteReply<Refusal extends string = never> = { readonly epoch: string; readonly time: number } & (
  | { readonly outcome: "accepted"; readonly version: number; readonly isCoalesced: boolean; readonly text: string }
  | { readonly outcome: "unknown" | "late" | "full" }
  | RefusedFor<Refusal>
);

/** Accepts a value: `queue-set.lua`. */
export async function setRow(commands: Sender<Writer>, request: WriteRequest, text: string): Promise<WriteReply> {
  return accept(commands, set, request, [text]);
}

/** Accepts a number that is larger than the old one: `queue-increment.lua`. */
export async function incrementRow(
  commands: Sender<Writer>,
  request: WriteRequest,
  { by, revision }: { by: number; revision: number },
): Promise<WriteReply<"absent" | "invalid">> {
  return accept(commands, increment, request, [by, `v${revisionIn(revision)}`]);
}

async function accept(
  commands: Sender<Writer>,
  script: Script,
  { keys, token, safeEpochs, notAfter, flushAfterMs, maxRows }: WriteRequest,
  args: readonly (string | number)[],
): Promise<WriteReply> {
  const { clock, queue, since, failures, dead, token: tokenKey } = keys.partition;
  const all = [keys.entry, tokenKey(token), clock, queue, since, failures, dead];
  const given = [safeEpochs, Math.floor(notAfter), flushAfterMs, maxRows, keys.row, ...args];
  const run = (client: Writer) => runScript(client, script, all, given);
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

/** The version and the text behind the beginning of an entry. */
export function partsOf(versionAndText: string): { version: string; text: string } {
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
