import type { HistoryOf } from "./deployment.ts";
import { type Note, Notes } from "./history-file.ts";
import { withinOneOf } from "./intervals.ts";
import { never, type Operation, violationsOf } from "./linearizability.ts";
import { describeViolations } from "./violation-report.ts";

/** What the notes of all processes say. */
export interface Verdict {
  readonly reads: number;
  readonly writes: number;
  /** Reads that near copies answered. */
  readonly nearHits: number;
  /** Near hits that were called while a write of their key was pending somewhere. */
  readonly nearHitsWhileWriting: number;
  /** Writes whose caller was not told how they ended, and which took effect. */
  readonly unansweredWrites: number;
  readonly violations: number;
  /** The first violations of each key that has any. */
  readonly details: readonly string[];
  /** Whether a write was pending at a moment, by the notes of those that know. */
  readonly wasWriting: (momentNs: number) => boolean;
}

/** One process' notes, read back. */
interface History {
  readonly notes: Notes;
  readonly by: string;
}

/**
 * Judges what all processes have noted. The source knows which writes took effect: also those whose server was not answered, or has died
 * before it could note them. Keys are judged one after the other, so that memory holds the operations of one.
 *
 * @param startNs from when on the times of the details count
 * @throws Error if a server was told of a write that the source has not done
 */
export async function judge(histories: readonly HistoryOf[], sourceHistory: string, startNs: number): Promise<Verdict> {
  const commits = await Notes.read(sourceHistory);
  const servers = await Promise.all(histories.map(async ({ path, by }) => ({ notes: await Notes.read(path), by })));
  const placesOfCommits = placesByKey(commits);
  const places = servers.map(({ notes }) => placesByKey(notes));
  const totals = { reads: 0, writes: 0, nearHits: 0, nearHitsWhileWriting: 0, unansweredWrites: 0, violations: 0 };
  const details: string[] = [];
  const writing: Note[] = [];
  for (const key of new Set([placesOfCommits, ...places].flatMap((each) => [...each.keys()]))) {
    const done = (placesOfCommits.get(key) ?? []).map((place) => commits.at(place));
    const seen = servers.flatMap(({ notes }, index) =>
      (places[index]?.get(key) ?? []).map((place) => ({ note: notes.at(place), server: index })),
    );
    const answered = seen.flatMap(({ note }) => (note.kind === "write" && note.returnedAt !== never ? [note] : []));
    const wasWriting = withinOneOf([...answered, ...done]);
    writing.push(...answered, ...done);
    for (const { note } of seen) {
      totals[note.kind === "read" ? "reads" : "writes"] += 1;
      if (!note.near) continue;
      totals.nearHits += 1;
      if (wasWriting(note.calledAt)) totals.nearHitsWhileWriting += 1;
    }
    const operations = operationsOf(done, seen, servers);
    totals.unansweredWrites += operations.filter(({ version, returnedAt }) => version && returnedAt === never).length;
    const violations = violationsOf(operations);
    totals.violations += violations.length;
    if (violations.length > 0) details.push(describeViolations(`key ${key}`, violations, startNs));
  }
  return { ...totals, details, wasWriting: withinOneOf(writing) };
}

function placesByKey(notes: Notes): ReadonlyMap<number, number[]> {
  const places = new Map<number, number[]>();
  for (let place = 0; place < notes.length; place += 1) {
    const key = notes.keyOf(place);
    const others = places.get(key);
    if (others) others.push(place);
    else places.set(key, [place]);
  }
  return places;
}

function operationsOf(
  done: readonly Note[],
  seen: readonly { readonly note: Note; readonly server: number }[],
  servers: readonly History[],
): Operation[] {
  const commits = new Map(done.map((commit) => [`${commit.by} ${commit.writeId}`, commit]));
  const operations = seen.map(({ note, server }): Operation => {
    const { kind, calledAt, returnedAt } = note;
    const by = `client ${note.by} of ${servers[server]?.by ?? "?"}`;
    if (kind === "read") return { kind, calledAt, returnedAt, version: note.version, by };
    const name = `${server} ${note.writeId}`;
    const commit = commits.get(name);
    commits.delete(name);
    if (returnedAt !== never && note.version !== commit?.version) {
      throw new Error(`A write of ${by} gave version ${note.version ?? "?"}, the source ${commit?.version ?? "none"}.`);
    }
    return { kind: "write", calledAt, returnedAt, version: commit?.version, by };
  });
  for (const { calledAt, version, by } of commits.values()) {
    const name = `${servers[by]?.by ?? "?"}, by the source`;
    operations.push({ kind: "write", calledAt, returnedAt: never, version, by: name });
  }
  return operations;
}
