import { holdsRecord, isEnd, isForward } from "./forward.ts";
import type { MemoryServer } from "./memory-server.ts";
import { scripts } from "./scripts.ts";

/** A script's equivalent. */
type Equivalent = (server: MemoryServer, keys: readonly string[], args: readonly string[]) => unknown;

/** This package's scripts in TypeScript, by the digest of the Lua that each stands for. Why they do what they do is said there. */
export const equivalents: ReadonlyMap<string, Equivalent> = new Map<string, Equivalent>([
  [scripts.load.sha1, load],
  [scripts.commit.sha1, ofOneKey(commit)],
  [scripts.touch.sha1, ofOneKey(touch)],
  [scripts.destroy.sha1, ofOneKey(destroy)],
  [scripts.overwrite.sha1, ofOneKey(overwrite)],
  [scripts.admit.sha1, ofOneKey(admit)],
  [scripts.promote.sha1, ofOneKey(promote)],
  [scripts.trim.sha1, ofOneKey(trim)],
]);

/** The equivalent of a script that has one key. */
function ofOneKey(equivalent: (server: MemoryServer, key: string, args: readonly string[]) => unknown): Equivalent {
  return (server, [key = ""], args) => equivalent(server, key, args);
}

function load(server: MemoryServer, keys: readonly string[]): ([string, number] | 0 | null)[] {
  return keys.map((key) => {
    if (server.type(key) === "zset") return 0;
    const text = server.text(key);
    return text === undefined ? null : [text, server.remainingMs(key)];
  });
}

function commit(server: MemoryServer, key: string, args: readonly string[]): string | [string, string] {
  const [expected = "", text = "", lifeMs = "", channel = "", message = ""] = args;
  const current = server.text(key);
  if (current === text) return "again";
  if (current === "" || (expected !== "" && current === undefined)) return "gone";
  if (current !== undefined && current !== expected) return ["conflict", current];
  const keptMs = server.remainingMs(key);
  const life = lifeMs === "kept" ? keptMs : Number(lifeMs);
  server.setText(key, text, life < 0 ? Infinity : life);
  if (message !== "") server.publish(channel, message);
  return "stored";
}

function overwrite(server: MemoryServer, key: string, [text = "", lifeMs = ""]: readonly string[]): string {
  server.setText(key, text, Number(lifeMs) < 0 ? Infinity : Number(lifeMs));
  return "stored";
}

function touch(server: MemoryServer, key: string, [lifeMs = ""]: readonly string[]): string {
  const text = server.text(key) ?? "";
  if (text === "" || isEnd(text)) return "gone";
  if (isForward(text)) return "moved";
  const remainingMs = server.remainingMs(key);
  if (remainingMs !== -1 && Number(lifeMs) > remainingMs) server.expire(key, Number(lifeMs));
  return "touched";
}

function destroy(server: MemoryServer, key: string, args: readonly string[]): string | null {
  const [tombstoneMs = "", channel = "", message = "", what = ""] = args;
  const text = server.type(key) === "string" ? (server.text(key) ?? "") : "";
  if (isForward(text) && what === "record") return text;
  if (isForward(text) && !text.startsWith(">m")) {
    server.setText(key, ">x", Number(tombstoneMs));
    return text;
  }
  server.setText(key, "", Number(tombstoneMs));
  if (text === "") return null;
  if (holdsRecord(text)) server.publish(channel, message);
  return text;
}

function admit(server: MemoryServer, index: string, [row = "", max = "", origin = ""]: readonly string[]): string {
  const rows = server.sortedSet(index);
  const isDraft = origin !== "";
  const member = isDraft ? `${row}{${origin}}` : row;
  const drafts = draftsIn(rows);
  const since = isDraft ? rows.get(found(rows, origin) ?? "") : undefined;
  if (!rows.has(member)) {
    if (isDraft && since === undefined) return rows.has(row) ? "added" : "stale";
    if ((isDraft ? drafts.length : sessionsIn(rows)) >= Number(max)) return "full";
  }
  // No two alike, as by the script's finer clock.
  const now = Math.max(Date.now() * 1_000, 1 + Math.max(0, ...[...rows.values()].map(Math.abs)));
  server.setMember(index, member, isDraft ? -Math.abs(since ?? now) : now);
  if (isDraft) server.removeMember(index, row);
  for (const draft of drafts) {
    if (draft !== member && draft.startsWith(`${row}{`)) server.removeMember(index, draft);
  }
  return "added";
}

function promote(server: MemoryServer, index: string, [row = "", origin = ""]: readonly string[]): string {
  const rows = server.sortedSet(index);
  const addedAt = rows.get(`${row}{${origin}}`);
  server.removeMember(index, origin);
  for (const draft of draftsIn(rows)) {
    if (draft.startsWith(`${origin}{`) || draft.endsWith(`{${origin}}`)) server.removeMember(index, draft);
  }
  if (addedAt === undefined) return "none";
  server.setMember(index, row, Math.abs(addedAt));
  return "promoted";
}

function trim(
  server: MemoryServer,
  index: string,
  [row = "", settledMs = "", origin = ""]: readonly string[],
): string[] {
  const rows = server.sortedSet(index);
  const member = origin === "" ? found(rows, row) : `${row}{${origin}}`;
  const addedAt = rows.get(member ?? "");
  const draftsOfIt = draftsIn(rows)
    .filter((draft) => draft.endsWith(`{${row}}`))
    .map((draft) => draft.slice(0, draft.indexOf("{")));
  if (member === undefined || addedAt === undefined) return ["none", ...draftsOfIt];
  const [, , session] = partsOf(member);
  const isYoung =
    session === undefined
      ? addedAt + Number(settledMs) * 1_000 > Date.now() * 1_000
      : found(rows, session) !== undefined;
  if (isYoung && settledMs !== "0") return ["young", ...draftsOfIt];
  server.removeMember(index, member);
  return ["trimmed", ...draftsOfIt];
}

function sessionsIn(rows: ReadonlyMap<string, number>): number {
  const drafts = draftsIn(rows).map(partsOf);
  const seen = new Set(drafts.map(([, row]) => row));
  let count = rows.size - drafts.length;
  for (const [, , origin = ""] of drafts) {
    if (seen.has(origin) || rows.has(origin)) continue;
    seen.add(origin);
    count += 1;
  }
  return count;
}

/** The member that stands for a row: itself, or that of a draft. */
function found(rows: ReadonlyMap<string, number>, row: string): string | undefined {
  return rows.has(row) ? row : draftsIn(rows).find((draft) => draft.startsWith(`${row}{`));
}

function draftsIn(rows: ReadonlyMap<string, number>): string[] {
  return [...rows].filter(([, score]) => score < 0).map(([member]) => member);
}

function partsOf(member: string): string[] {
  return /^([^{]*)\{(.*)\}$/.exec(member) ?? [];
}
