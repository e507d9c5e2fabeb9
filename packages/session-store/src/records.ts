import { Commands, type RedisClient, scanKeys } from "@lockstep/redis-kit";
import { SessionStoreError, fromCommandError } from "./errors.ts";
import { type Keys, createKeys } from "./keys.ts";
import type { ResolvedOptions } from "./options.ts";
import { type CommitReply, type RecordReply, commitRecord, loadRecord, touchRecord } from "./scripts.ts";

/** What a commit asks for: see {@link commitRecord}. */
type Change = Parameters<typeof commitRecord>[2];

/** The sessions' records in Redis, by session id: every command this package sends, each within its deadline. */
export class Records {
  readonly #commands: Commands;
  readonly #keys: Keys;
  readonly #client: RedisClient;

  constructor({ client, prefix, ids, commandDeadlineMs }: ResolvedOptions) {
    this.#client = client;
    this.#commands = new Commands(client, { deadlineMs: commandDeadlineMs });
    this.#keys = createKeys(prefix, ids);
  }

  /** An id that names no record (see keys.ts) is an id without a record. */
  async load(id: string): Promise<RecordReply | undefined> {
    const key = this.#keys.record(id);
    return key === undefined ? undefined : read(() => loadRecord(this.#commands, key));
  }

  /** @throws {@link SessionStoreError} `INVALID_SESSION` for an id that can't name a record */
  async commit(id: string, change: Change, withinMs: number): Promise<CommitReply> {
    const key = this.#keyFor(id);
    return write(() => commitRecord(this.#commands, key, change, withinMs));
  }

  /** Stores a record whatever is there. */
  async overwrite(id: string, text: string, lifeMs: number): Promise<void> {
    const key = this.#keyFor(id);
    await write(() =>
      this.#commands.send("the storing of a session", (client) =>
        lifeMs === Infinity ? client.set(key, text) : client.set(key, text, "PX", lifeMs),
      ),
    );
  }

  /** Lengthens a record's life; never creates one (S3), and never shortens a life that another request gave it. */
  async touch(id: string, lifeMs: number): Promise<"touched" | "gone"> {
    const key = this.#keyFor(id);
    return write(() => touchRecord(this.#commands, key, lifeMs));
  }

  async destroy(idOrHandle: string): Promise<void> {
    await Promise.all(this.#keys.recordsNamed(idOrHandle).map((key) => this.#delete(key)));
  }

  /** The names (see {@link Keys.nameOf}) of all records, in batches: SCAN on each primary, so it may repeat one. */
  async *names(batchSize: number): AsyncGenerator<string[]> {
    for await (const keys of this.#scan(batchSize)) yield keys.map(({ name }) => name);
  }

  /** All records, in batches. Those that vanish meanwhile are left out. */
  async *all(batchSize: number): AsyncGenerator<{ name: string; text: string }[]> {
    for await (const keys of this.#scan(batchSize)) {
      const found = await Promise.all(
        keys.map(async ({ name, key }) => ({ name, record: await read(() => loadRecord(this.#commands, key)) })),
      );
      yield found.flatMap(({ name, record }) => (record ? [{ name, text: record.text }] : []));
    }
  }

  async clear(batchSize: number): Promise<void> {
    for await (const keys of this.#scan(batchSize)) await Promise.all(keys.map(({ key }) => this.#delete(key)));
  }

  async *#scan(batchSize: number): AsyncGenerator<{ key: string; name: string }[]> {
    const options = { what: "a scan for sessions", pattern: this.#keys.recordPattern, batchSize };
    const batches = scanKeys(this.#commands, this.#client, options);
    for (;;) {
      const batch = await read(() => batches.next());
      if (batch.done === true) return;
      yield batch.value.flatMap((key) => {
        const name = this.#keys.nameOf(key);
        return name === undefined ? [] : [{ key, name }];
      });
    }
  }

  async #delete(key: string): Promise<void> {
    await write(() => this.#commands.send("the destruction of a session", (client) => client.del(key)));
  }

  #keyFor(id: string): string {
    const key = this.#keys.record(id);
    if (key === undefined) {
      throw new SessionStoreError("INVALID_SESSION", "A session id must have 1 to 512 characters and no braces.");
    }
    return key;
  }
}

async function read<T>(command: () => Promise<T>): Promise<T> {
  return command().catch((error: unknown) => {
    throw fromCommandError(error, "read");
  });
}

async function write<T>(command: () => Promise<T>): Promise<T> {
  return command().catch((error: unknown) => {
    throw fromCommandError(error, "write");
  });
}
