import { closeSync, openSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";

/**
 * What a process notes of one operation. Servers note reads and writes as their callers saw them, the source each `commit` that took
 * effect: called when it arrived, and returned when it was done.
 */
export interface Note {
  readonly kind: "read" | "write" | "commit";
  readonly key: number;
  /** Both in ns, of {@link nowNs}. */
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly version: number | undefined;
  /** A write: its number on its server; what it tells the source. */
  readonly writeId: number;
  /** A commit: the process that wrote. Otherwise: which of the process' clients. */
  readonly by: number;
  /** Whether a near copy answered. */
  readonly near: boolean;
}

const kinds = ["read", "write", "commit"] as const;

/** Three doubles (called, returned, version), a whole number (the write), and four of two bytes (key, by, kind, near). */
const noteBytes = 36;
const notesInBatch = 1_000;

/**
 * The notes of one process, in a file. What is not yet written when the process is killed is lost, at most {@link notesInBatch} and
 * what came since the last `flush`: for a judge a lost read is one that never was, and a lost write one that was not answered.
 */
export class HistoryFile {
  readonly #file: number;
  readonly #batch = Buffer.alloc(noteBytes * notesInBatch);
  #filled = 0;

  constructor(path: string) {
    this.#file = openSync(path, "ax");
  }

  add({ kind, key, calledAt, returnedAt, version, writeId, by, near }: Note): void {
    let at = this.#batch.writeDoubleLE(calledAt, this.#filled);
    at = this.#batch.writeDoubleLE(returnedAt, at);
    at = this.#batch.writeDoubleLE(version ?? NaN, at);
    at = this.#batch.writeUInt32LE(writeId, at);
    at = this.#batch.writeUInt16LE(key, at);
    at = this.#batch.writeUInt16LE(by, at);
    at = this.#batch.writeUInt16LE(kinds.indexOf(kind), at);
    this.#filled = this.#batch.writeUInt16LE(near ? 1 : 0, at);
    if (this.#filled === this.#batch.length) this.flush();
  }

  /** Some µs: it writes to the page cache. */
  flush(): void {
    if (this.#filled > 0) writeSync(this.#file, this.#batch, 0, this.#filled);
    this.#filled = 0;
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}

/** What a process has noted. A note that its end has cut short is left out. */
export class Notes {
  readonly #bytes: Buffer;
  readonly length: number;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.length = Math.floor(bytes.length / noteBytes);
  }

  static async read(path: string): Promise<Notes> {
    return new Notes(await readFile(path));
  }

  /** Without what comes with the whole note, for those who sort by it. */
  keyOf(index: number): number {
    return this.#bytes.readUInt16LE(index * noteBytes + 28);
  }

  at(index: number): Note {
    const start = index * noteBytes;
    const version = this.#bytes.readDoubleLE(start + 16);
    return {
      calledAt: this.#bytes.readDoubleLE(start),
      returnedAt: this.#bytes.readDoubleLE(start + 8),
      version: Number.isNaN(version) ? undefined : version,
      writeId: this.#bytes.readUInt32LE(start + 24),
      key: this.keyOf(index),
      by: this.#bytes.readUInt16LE(start + 30),
      kind: kinds[this.#bytes.readUInt16LE(start + 32)] as Note["kind"],
      near: this.#bytes.readUInt16LE(start + 34) === 1,
    };
  }
}
