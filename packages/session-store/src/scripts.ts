import { type Commands, type RedisClient, readScript, runScript } from "@lockstep/redis-kit";

const load = readScript(new URL("../lua/load.lua", import.meta.url));
const commit = readScript(new URL("../lua/commit.lua", import.meta.url));
const touch = readScript(new URL("../lua/touch.lua", import.meta.url));

/** What a record holds, and how much longer. */
export interface RecordReply {
  readonly text: string;
  /** `undefined`: it does not expire. */
  readonly remainingMs: number | undefined;
}

/** What became of a commit. */
export type CommitReply =
  | { readonly outcome: "stored" }
  | { readonly outcome: "gone" }
  | { readonly outcome: "conflict"; readonly current: string };

/** Reads a record and its remaining life: `load.lua`. */
export async function loadRecord(commands: Commands, key: string): Promise<RecordReply | undefined> {
  const reply = await commands.send("the load of a session", (client) => runScript(client, load, [key], []));
  if (reply === null) return undefined;
  const [text, remainingMs] = reply as [string, number];
  return { text, remainingMs: remainingMs < 0 ? undefined : remainingMs };
}

/**
 * Stores a record if it is still `expected`: `commit.lua`.
 *
 * @param write `expected`: the text as last seen, or `undefined` if there was none; `lifeMs`: `Infinity` for no expiry.
 */
export async function commitRecord(
  commands: Commands,
  key: string,
  write: { expected: string | undefined; text: string; lifeMs: number },
  withinMs: number,
): Promise<CommitReply> {
  const args = [write.expected ?? "", write.text, finite(write.lifeMs)];
  const run = (client: RedisClient) => runScript(client, commit, [key], args);
  const reply = await commands.send("the commit of a session", run, withinMs);
  if (Array.isArray(reply)) return { outcome: "conflict", current: reply[1] as string };
  return { outcome: reply as "stored" | "gone" };
}

/** Lengthens a record's life to `lifeMs`, where there is one: `touch.lua`. `Infinity`: only asks whether it is there. */
export async function touchRecord(commands: Commands, key: string, lifeMs: number): Promise<"touched" | "gone"> {
  const run = (client: RedisClient) => runScript(client, touch, [key], [finite(lifeMs)]);
  return (await commands.send("the touch of a session", run)) as "touched" | "gone";
}

/** No expiry, in the scripts' terms. */
function finite(lifeMs: number): number {
  return lifeMs === Infinity ? 0 : lifeMs;
}
