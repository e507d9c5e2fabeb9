import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { seededRandom } from "./harness/cache/random.ts";
import { HistoryFile, type Note, Notes } from "./harness/histories/history-file.ts";
import { withinOneOf } from "./harness/histories/intervals.ts";
import { judge } from "./harness/histories/judge.ts";
import { never } from "./harness/histories/linearizability.ts";
import { shortfalls } from "./harness/histories/run.ts";

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "lockstep-history-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

function write(path: string, notes: Iterable<Note>): void {
  const file = new HistoryFile(path);
  for (const note of notes) file.add(note);
  file.close();
}

function note(kind: Note["kind"], calledAt: number, returnedAt: number, rest: Partial<Note> = {}): Note {
  return { kind, key: 7, calledAt, returnedAt, version: 1, writeId: 0, by: 0, near: false, ...rest };
}

/** What two servers and the source have noted. */
async function judged(first: readonly Note[], second: readonly Note[], commits: readonly Note[]) {
  const directory = await newDirectory();
  const histories = [first, second].map((notes, index) => {
    const path = join(directory, `${index}.history`);
    write(path, notes);
    return { path, by: `server-${index + 1}` };
  });
  const source = join(directory, "source.history");
  write(source, commits);
  return judge(histories, source, 0);
}

test("notes come back as they were made, without one that the end of its process has cut short", async () => {
  const path = join(await newDirectory(), "some.history");
  const notes = Array.from({ length: 2_500 }, (_, index) =>
    note(index % 2 === 0 ? "read" : "write", index, index % 3 === 0 ? never : 2 ** 52 + index, {
      version: index % 5 === 0 ? undefined : index,
      key: index % 50,
      writeId: index * 1_000_000,
      by: index,
      near: index % 7 === 0,
    }),
  );
  write(path, notes);
  await appendFile(path, Buffer.alloc(35));
  const read = await Notes.read(path);
  expect(Array.from({ length: read.length }, (_, index) => read.at(index))).toEqual(notes);
  expect(read.keyOf(2_499)).toBe(49);
});

test("a write that its server could not note is known to the source", async () => {
  const commit = note("commit", 20, 30, { writeId: 5, by: 1 });
  const seen = [note("read", 31, 40), note("read", 41, 50, { near: true })];
  expect(await judged(seen, [], [commit])).toMatchObject({ reads: 2, writes: 0, nearHits: 1, unansweredWrites: 1 });
  expect((await judged(seen, [], [commit])).violations).toBe(0);
  expect((await judged([note("read", 5, 10)], [], [commit])).details).toEqual([
    "key 7: 1 violations\n" +
      "  - the read of version 1 by client 0 of server-1, from 0.000 ms to 0.000 ms is from the future: the write of version 1 " +
      "by server-2, by the source, from 0.000 ms without an answer, was called 0.000 ms after it had returned.",
  ]);
});

test("a write that was not answered counts from its call, if it took effect", async () => {
  const unanswered = note("write", 10, never, { version: undefined, writeId: 5 });
  const commit = note("commit", 20, 30, { writeId: 5 });
  expect(await judged([unanswered], [note("read", 31, 40)], [commit])).toMatchObject({ violations: 0, writes: 1 });
  expect(await judged([unanswered], [note("read", 31, 40)], [])).toMatchObject({ violations: 1 });
  expect(await judged([unanswered], [note("read", 31, 40, { version: 0 })], [])).toMatchObject({ violations: 0 });
});

test("a planted stale read is found across two files, and a lost write at once", async () => {
  const written = note("write", 10, 40, { writeId: 5 });
  const commit = note("commit", 20, 30, { writeId: 5 });
  const stale = note("read", 41, 50, { version: 0, near: true });
  expect(await judged([written], [stale], [commit])).toMatchObject({ violations: 1 });
  expect(await judged([written], [{ ...stale, calledAt: 40 }], [commit])).toMatchObject({ violations: 0 });
  await expect(judged([written], [], [])).rejects.toThrow("gave version 1, the source none");
});

test("a near hit counts as one while writing by the writes of its key alone", async () => {
  const written = note("write", 10, 40, { writeId: 5 });
  const commit = note("commit", 20, 30, { writeId: 5 });
  const hits = [note("read", 15, 50, { near: true }), note("read", 15, 50, { key: 8, version: 0, near: true })];
  const verdict = await judged([written], hits, [commit]);
  expect(verdict).toMatchObject({ nearHits: 2, nearHitsWhileWriting: 1, violations: 0 });
  expect([9, 10, 40, 41].map(verdict.wasWriting)).toEqual([false, true, true, false]);
});

test("a moment is found in intervals that overlap, touch, or hold one another", () => {
  const random = seededRandom(1);
  for (let round = 0; round < 500; round += 1) {
    const intervals = Array.from({ length: Math.floor(random() * 6) }, () => {
      const calledAt = Math.floor(random() * 20);
      return { calledAt, returnedAt: calledAt + Math.floor(random() * 8) };
    });
    const isWithin = withinOneOf(intervals);
    for (let moment = -1; moment < 30; moment += 1) {
      const expected = intervals.some(({ calledAt, returnedAt }) => calledAt <= moment && moment <= returnedAt);
      expect(isWithin(moment)).toBe(expected);
    }
  }
});

test("a run that lacks something says so, in whatever it lacks", () => {
  const result = {
    ...{ reads: 9_500, writes: 500, nearHits: 4_000, nearHitsWhileWriting: 10, unansweredWrites: 1, violations: 0 },
    ...{ details: [], seconds: 10, failures: new Map(), strikes: new Map([["a fault", { all: 3, counted: 2 }]]) },
  };
  const floors = { nearHitShare: 0.4, writeShare: 0.05, strikes: 2, operations: 10_000 };
  expect(shortfalls(result, floors)).toEqual([]);
  expect(shortfalls({ ...result, nearHits: 3_000 }, floors)).toEqual([
    "near hits of the reads: 0.3158, and 0.4 are needed",
  ]);
  expect(shortfalls({ ...result, writes: 499, reads: 9_501 }, floors)).toEqual([
    "writes of the operations: 0.0499, and 0.05 are needed",
  ]);
  expect(shortfalls(result, { ...floors, strikes: 3 })).toEqual(["a fault, while writing: 2, and 3 are needed"]);
  expect(shortfalls(result, { ...floors, operations: 10_001 })).toEqual(["operations: 10000, and 10001 are needed"]);
});

test("a million notes of 50 keys are judged within ten seconds and a gigabyte", async () => {
  const directory = await newDirectory();
  const random = seededRandom(2);
  const versions = new Map<number, number>();
  const [first, second, source] = ["0", "1", "source"].map((name) => join(directory, `${name}.history`)) as [
    string,
    string,
    string,
  ];
  const files = [new HistoryFile(first), new HistoryFile(second)] as const;
  const commits = new HistoryFile(source);
  for (let at = 10_000; at < 1_010_000; at += 1) {
    const key = Math.floor(random() * 50);
    const by = random() < 0.5 ? 0 : 1;
    const isWrite = random() < 0.05;
    const version = (versions.get(key) ?? 0) + (isWrite ? 1 : 0);
    versions.set(key, version);
    const whole = { key, version, writeId: at };
    if (isWrite) commits.add(note("commit", at, at, { ...whole, by }));
    files[by].add(
      note(isWrite ? "write" : "read", at - random() * 1_000, at + random() * 1_000, { ...whole, near: !isWrite }),
    );
  }
  for (const file of [...files, commits]) file.close();
  const startedAt = performance.now();
  const verdict = await judge(
    [
      { path: first, by: "server-1" },
      { path: second, by: "server-2" },
    ],
    source,
    0,
  );
  const ms = performance.now() - startedAt;
  const megabytes = process.memoryUsage().rss / 2 ** 20;
  console.log(
    `A million operations were judged in ${ms.toFixed(0)} ms; the process takes ${megabytes.toFixed(0)} MiB.`,
  );
  expect(verdict).toMatchObject({ violations: 0 });
  expect(verdict.reads + verdict.writes).toBe(1_000_000);
  expect(ms).toBeLessThan(10_000);
  expect(megabytes).toBeLessThan(1_000);
});
