import { forwardMark, isForward } from "./forward.ts";
import type { MemoryServer } from "./memory-server.ts";
import { scripts } from "./scripts.ts";

/** A script's equivalent: one key, as each of this package's has. */
type Equivalent = (server: MemoryServer, key: string, args: readonly string[]) => unknown;

/** This package's scripts in TypeScript, by the digest of the Lua that each stands for. Why they do what they do is said there. */
export const equivalents: ReadonlyMap<string, Equivalent> = new Map<string, Equivalent>([
  [scripts.load.sha1, load],
  [scripts.commit.sha1, commit],
  [scripts.touch.sha1, touch],
  [scripts.destroy.sha1, destroy],
  [scripts.admit.sha1, admit],
]);

function load(server: MemoryServer, key: string): [string, number] | null {
  const text = server.text(key);
  return text === undefined ? null : [text, server.remainingMs(key)];
}

function commit(server: MemoryServer, key: string, args: readonly string[]): string | [string, string] {
  const [expected = "", text = "", lifeMs = "", channel = "", message = ""] = args;
  const current = server.text(key);
  if (current === "" || (expected !== "" && current === undefined)) return "gone";
  if (current !== undefined && current !== expected) return ["conflict", current];
  server.setText(key, text, unlessZero(lifeMs));
  if (message !== "") server.publish(channel, message);
  return "stored";
}

function touch(server: MemoryServer, key: string, [lifeMs = ""]: readonly string[]): string {
  const start = server.text(key)?.[0];
  if (start === undefined) return "gone";
  if (start === forwardMark) return "moved";
  const remainingMs = server.remainingMs(key);
  if (remainingMs !== -1 && lifeMs !== "0" && Number(lifeMs) > remainingMs) server.expire(key, Number(lifeMs));
  return "touched";
}

function destroy(server: MemoryServer, key: string, args: readonly string[]): string | null {
  const [tombstoneMs = "", channel = "", message = ""] = args;
  const text = server.type(key) === "string" ? server.text(key) : undefined;
  server.setText(key, "", Number(tombstoneMs));
  if (text === undefined || text === "") return null;
  if (!isForward(text)) server.publish(channel, message);
  return text;
}

function admit(server: MemoryServer, index: string, [row = "", max = ""]: readonly string[]): string {
  const rows = server.sortedSet(index);
  if (rows.has(row)) return "added";
  if (rows.size >= unlessZero(max)) return "full";
  server.setMember(index, row, Date.now());
  return "added";
}

/** In the scripts' terms 0 is: without end. */
function unlessZero(limit: string): number {
  return limit === "0" ? Infinity : Number(limit);
}
