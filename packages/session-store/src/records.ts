import {
  type CircuitBreaker,
  type Commands,
  type RedisClient,
  type Sender,
  type Writer,
  keyPrefixOf,
  scanKeys,
} from "@lockstep/redis-kit";
import { type Codec, CorruptRecord } from "./codec.ts";
import { SessionStoreError, fromCommandError } from "./errors.ts";
import { type Events, type LifecycleEvent, messageOf } from "./events.ts";
import { holdsRecord, isEnd, isForward, movedWith, readForward } from "./forward.ts";
import { type Keyring, createKeyring } from "./keyring.ts";
import type { Keys } from "./keys.ts";
import { type NearParts, openNearParts } from "./near-parts.ts";
import type { NearRecords } from "./near-records.ts";
import type { WriteOrder } from "./pending-writes.ts";
import { type ResolvedOptions, tombstoneMs } from "./options.ts";
import { RecordLoads } from "./record-loads.ts";
import {
  type BegunWrite,
  type CommitReply,
  type RecordReply,
  commitRecord,
  destroyRecord,
  overwriteRecord,
  touchRecord,
  unlessNoString,
} from "./scripts.ts";
import type { Base } from "./tracked-session.ts";

/** How often a session may have gone on under another key since its id was given out. */
const maxForwards = 16;

/** What to store, and over what. */
export interface Change {
  /** The raw text as last seen; `undefined`: the session was born in this request. */
  readonly expected: string | undefined;
  readonly raw: string;
  /** `Infinity`: no expiry; `"kept"`: as long as what it replaces. */
  readonly lifeMs: number | "kept";
  /** What all servers are told with it. */
  readonly event?: LifecycleEvent | undefined;
}

/** The sessions' records in Redis: every command on them, each within its deadline. */
export class Records {
  readonly #client: RedisClient;
  readonly #commands: CircuitBreaker;
  readonly #writes: Sender<Writer>;
  readonly #loads: RecordLoads;
  readonly #near: NearParts;
  readonly #keys: Keys;
  readonly #keyring: Keyring;
  readonly #codec: Codec;
  readonly #tombstoneMs: number;
  readonly #isMovingHere: boolean;
  /** Whether what was stored is known to be on replicas too. */
  readonly isDurable: boolean;
  /** Where other servers are told of sessions. ioredis puts its own prefix before keys only. */
  readonly channel: string;

  constructor(
    options: ResolvedOptions,
    parts: {
      commands: CircuitBreaker;
      writes: Sender<Writer>;
      turns: Pick<Commands, "together" | "send">;
      keys: Keys;
      codec: Codec;
      events: Events;
    },
  ) {
    this.#client = options.client;
    this.#commands = parts.commands;
    this.#writes = parts.writes;
    this.isDurable = options.durability !== undefined;
    this.#near = openNearParts(options, parts);
    this.#loads = new RecordLoads(options.client, { ...parts, markOf: this.#near.own && parts.keys.mark });
    this.#keys = parts.keys;
    this.#codec = parts.codec;
    this.#keyring = createKeyring(options.encryption);
    this.#tombstoneMs = tombstoneMs(options);
    this.#isMovingHere = options.migrateFrom !== undefined;
    this.channel = keyPrefixOf(options.client) + parts.keys.channel;
  }

  /** Gives up near copies. */
  close(): void {
    this.#near.own?.copies.close();
  }

  /**
   * The record of a session, wherever it has gone on: from memory, where this server may serve it. An id that names no record (see
   * keys.ts) is an id without a record.
   *
   * @throws CorruptRecord
   */
  async load(id: string, forwards = maxForwards): Promise<Base | undefined> {
    if (this.#near.own) return this.#loadNear(this.#near.own.copies, id, forwards);
    const seenAt = performance.now();
    const places = this.#keys.places(id);
    const asked = places.map((key) => this.#loads.load(key));
    // Nearly always it is one.
    const replies = await this.#checked(asked.length === 1 ? alone(asked[0]) : Promise.all(asked));
    for (const [at, key] of places.entries()) {
      const reply = replies[at];
      if (!reply) continue;
      // S3: ended where it came from is ended.
      if (reply.raw === "" || isEnd(reply.raw)) return undefined;
      if (isForward(reply.raw)) return this.#follow({ id, key, ...reply }, forwards);
      return this.#base({ id, key, seenAt, ...reply });
    }
    return undefined;
  }

  /** A server with near copies has hashed ids alone, so that a record has one place. */
  async #loadNear(copies: NearRecords, id: string, forwards: number): Promise<Base | undefined> {
    const key = this.#keys.record(id);
    if (key === undefined) return undefined;
    const copy = copies.find(key);
    if (copy) return this.#base({ id, key, ...copy });
    const reservation = copies.reserve(key);
    try {
      const seenAt = performance.now();
      const reply = await this.#checked(this.#loads.load(key));
      if (!reply || reply.raw === "" || isEnd(reply.raw)) return undefined;
      if (isForward(reply.raw)) return await this.#follow({ id, key, ...reply }, forwards);
      const base = this.#base({ id, key, seenAt, ...reply });
      copies.keep(reservation, { ...reply, seenAt });
      return base;
    } finally {
      copies.release(reservation);
    }
  }

  /** @throws {@link SessionStoreError} `INVALID_SESSION` for an id that can't name a record */
  keyFor(id: string): string {
    const key = this.#keys.record(id);
    if (key === undefined) {
      throw new SessionStoreError("INVALID_SESSION", "A session id must have 1 to 512 characters and no braces.");
    }
    return key;
  }

  /** A record's text as it is to be stored. What is under a plain key is what connect-redis reads. */
  seal(text: string, key: string): string {
    return this.#keys.isHashed(key) ? this.#keyring.seal(text, key) : text;
  }

  /** @throws CorruptRecord */
  open(raw: string, key: string): string {
    return this.#keys.isHashed(key) ? this.#keyring.open(raw, key) : raw;
  }

  /** Whether a record is where and how it would be stored now. */
  isCurrent({ key, raw }: Base): boolean {
    return !this.#keys.isHashed(key) || this.#keyring.isCurrent(raw);
  }

  /** Whether a record is to move to its new place at its first use. */
  isToMove({ id, key }: Base): boolean {
    return this.#isMovingHere && key !== this.#keys.record(id);
  }

  async commit(key: string, change: Change, withinMs = Infinity): Promise<CommitReply> {
    const commit = (leftMs: number, begun?: BegunWrite) =>
      commitRecord(this.#writes, key, { ...change, told: this.#told(change.event) }, leftMs, begun);
    // Of a session that is just born nobody has a copy; where one is there after all, this changes nothing.
    return this.#write(key, { withinMs, isBirth: change.expected === undefined }, commit);
  }

  /**
   * Moves a record to the key of the present scheme, if it is still what was seen. One commit decides it: whoever meets what
   * that leaves behind ends the move.
   *
   * @returns where the session is now, moved or not; `undefined`: it is gone
   * @throws CorruptRecord
   */
  async move(base: Base): Promise<Base | undefined> {
    const raw = movedWith(this.seal(base.text, this.keyFor(base.id)));
    // S6: somebody may have used the session since it was read.
    await this.commit(base.key, { expected: base.raw, raw, lifeMs: "kept" });
    return this.load(base.id);
  }

  /** Stores a record whatever is there. */
  async overwrite(key: string, text: string, lifeMs: number): Promise<void> {
    const record = { raw: this.seal(text, key), lifeMs };
    await this.#write(key, {}, (leftMs, begun) => overwriteRecord(this.#writes, key, record, leftMs, begun));
  }

  /** Lengthens a record's life; never creates one (S3), and never shortens a life that another request gave it. */
  async touch(key: string, lifeMs: number): Promise<"touched" | "gone" | "moved"> {
    const touch = () => write(() => touchRecord(this.#commands, key, lifeMs));
    return this.#near.own ? this.#near.own.copies.touch(key, lifeMs, touch) : touch();
  }

  /**
   * Ends a session; a forward only where `whole`. `alsoMs`: how much longer than need be it is remembered.
   *
   * @returns the raw text that was there
   */
  async destroy(
    key: string,
    event: LifecycleEvent,
    { whole, alsoMs = 0 }: { whole: boolean; alsoMs?: number },
  ): Promise<string | undefined> {
    const how = { tombstoneMs: this.#tombstoneMs + alsoMs, told: this.#told(event), whole };
    return this.#write(key, { ends: true }, (leftMs, begun) => destroyRecord(this.#writes, key, how, leftMs, begun));
  }

  /** Tells all servers of something that no commit tells of. */
  async publish(event: LifecycleEvent): Promise<void> {
    await write(() =>
      this.#commands.send("an event of a session", (client) => client.publish(this.channel, messageOf(event))),
    );
  }

  /** What is stored under a key, as it is. */
  async peek(key: string): Promise<RecordReply | undefined> {
    return read(() => this.#loads.load(key));
  }

  /** The keys of all living records, in batches: SCAN on each primary, so it may repeat one. */
  async *keys(batchSize: number): AsyncGenerator<string[]> {
    for await (const keys of this.#scan(batchSize)) {
      const living = await Promise.all(keys.map((key) => this.#isLiving(key)));
      yield keys.filter((_, at) => living[at]);
    }
  }

  /** All living records, in batches. Those that vanish meanwhile are left out. */
  async *all(batchSize: number): AsyncGenerator<{ key: string; raw: string }[]> {
    for await (const keys of this.#scan(batchSize)) {
      const found = await Promise.all(keys.map(async (key) => ({ key, raw: (await this.peek(key))?.raw ?? "" })));
      yield found.filter(({ raw }) => holdsRecord(raw) && !isForward(raw));
    }
  }

  async *#scan(batchSize: number): AsyncGenerator<string[]> {
    const options = { what: "a scan for sessions", pattern: this.#keys.recordPattern, batchSize };
    const batches = scanKeys(this.#commands, this.#client, options);
    for (;;) {
      const batch = await read(() => batches.next());
      if (batch.done === true) return;
      yield batch.value.filter((key) => this.#keys.isRecord(key));
    }
  }

  async #isLiving(key: string): Promise<boolean> {
    // As much as tells a record that is moving from a forward.
    const look = () => this.#commands.send("a look at a session", (client) => client.getrange(key, 0, 2));
    return holdsRecord(await read(() => unlessNoString(look())));
  }

  /** Where a session has gone on, the move ended if whoever began it has not. @throws CorruptRecord */
  async #follow(from: { id: string; key: string } & RecordReply, forwards: number): Promise<Base | undefined> {
    const forward = readForward(from.raw, from.id);
    if (!forward || forwards === 0) throw new CorruptRecord("a forward that can't be followed");
    if (forward.kind !== "moved") {
      if (forward.kind === "ended") return undefined;
      const base = await this.load(forward.id, forwards - 1);
      // Fixation: not to a session that somebody has signed in to since, by whatever request (S7).
      return base && this.#codec.head(base.text).user === forward.user ? base : undefined;
    }
    const key = this.#keys.places(from.id).at(-1);
    if (key === undefined || key === from.key) throw new CorruptRecord("moved to ids of the other scheme");
    if (forward.record !== undefined) {
      const lifeMs = from.remainingMs ?? Infinity;
      const arrival = await this.#arrive(key, forward.record, lifeMs);
      // What is on its way to the old place still finds the new one, as long as a destroyed session is remembered.
      const closing = { expected: from.raw, raw: movedWith(""), lifeMs: this.#tombstoneMs };
      const closed = await this.commit(from.key, closing);
      if (closed.outcome === "gone" && arrival.outcome === "stored" && arrival.isNew) {
        // S3: it was destroyed since it was read, perhaps so long ago that nothing else remembers it.
        await this.commit(key, { expected: forward.record, raw: "", lifeMs: this.#tombstoneMs });
        return undefined;
      }
    }
    const seenAt = performance.now();
    const reply = await this.peek(key);
    if (!reply || reply.raw === "" || isEnd(reply.raw)) return undefined;
    if (isForward(reply.raw)) return this.#follow({ id: from.id, key, ...reply }, forwards - 1);
    return this.#base({ id: from.id, key, seenAt, ...reply });
  }

  /** Stores a moved record in its new place, over what an earlier move away from there has left. */
  async #arrive(key: string, raw: string, lifeMs: number): Promise<CommitReply> {
    const left = movedWith("");
    const reply = await this.commit(key, { expected: undefined, raw, lifeMs });
    if (reply.outcome !== "conflict" || reply.current !== left) return reply;
    return this.commit(key, { expected: left, raw, lifeMs });
  }

  /** What was read, once it is known that this server may read: asked with the first read, and not before it. */
  #checked<T>(reading: Promise<T>): Promise<T> {
    const checking = this.#near.foreign.check();
    if (!checking) return read(() => reading);
    return read(async () => (await Promise.all([reading, checking]))[0]);
  }

  #base({ id, key, raw, remainingMs, seenAt }: { id: string; key: string; seenAt: number } & RecordReply): Base {
    return { id, key, raw, text: this.open(raw, key), remainingMs, seenAt };
  }

  /**
   * Writes a record: in two steps, where servers may have near copies of it.
   *
   * @param order `withinMs`: for all of it; default the commit deadline where there are near copies, else each command's own
   */
  async #write<T>(
    key: string,
    order: Partial<WriteOrder> & { readonly isBirth?: boolean },
    send: (withinMs: number, begun?: BegunWrite) => Promise<T>,
  ): Promise<T> {
    const { withinMs = Infinity, ends = false, isBirth = false } = order;
    const { foreign, own } = this.#near;
    if (isBirth) foreign.checkBirth();
    const checking = isBirth ? undefined : foreign.check();
    if (checking) await checking;
    const sent = (leftMs: number, begun?: BegunWrite) => write(() => send(leftMs, begun));
    return own && !isBirth ? own.writes.write(key, { withinMs, ends }, sent) : sent(withinMs);
  }

  #told(event: LifecycleEvent | undefined) {
    return { channel: this.channel, message: event ? messageOf(event) : "" };
  }
}

async function alone<T>(reply: Promise<T> | undefined): Promise<(T | undefined)[]> {
  return [await reply];
}

/** A command's failure in a session's terms, where it would have changed nothing. */
export async function read<T>(command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw fromCommandError(error, "read");
  }
}

/** A command's failure in a session's terms, where it may have changed something. */
export async function write<T>(command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw fromCommandError(error, "write");
  }
}
