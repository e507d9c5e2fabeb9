import { Copies, type CopyHolder, type Near, type Reservation } from "@lockstep/redis-kit";
import type { Eviction } from "./eviction.ts";
import type { NearCount } from "./events.ts";
import { isForward } from "./forward.ts";
import type { ResolvedOptions } from "./options.ts";
import type { RecordReply } from "./scripts.ts";

/** A record as it was read. */
export interface NearRecord {
  readonly raw: string;
  /** Its remaining life then; `undefined`: it does not expire. */
  readonly remainingMs: number | undefined;
  /** When it was asked for, on the monotonic clock, in ms. */
  readonly seenAt: number;
}

/** How far two clocks may drift apart (ρ): that of Redis, by which records expire, and this server's. */
const clockDrift = 0.01;

/** The records that this server has read last, kept in its memory: served under a lease (C1), and dropped when anybody is about to write one. */
export class NearRecords implements CopyHolder {
  readonly #near: Near;
  readonly #copies: Copies;
  readonly #eviction: Eviction;
  readonly #count: (what: NearCount, by?: number) => void;
  readonly #claimKey: string;
  readonly #ends: (() => void)[] = [];
  #state: "new" | "open" | "closed" = "new";
  readonly #onEvicted = () => {
    this.#count("copy-evicted");
  };

  constructor(
    near: Near,
    { maxCopies, maxCopyBytes }: ResolvedOptions,
    parts: { eviction: Eviction; count: (what: NearCount, by?: number) => void; claimKey: string },
  ) {
    this.#near = near;
    this.#copies = new Copies({ maxEntries: maxCopies, maxBytes: maxCopyBytes });
    this.#eviction = parts.eviction;
    this.#count = parts.count;
    this.#claimKey = parts.claimKey;
    this.#ends.push(near.hold(this));
  }

  /** To be called once it is known that nobody outside the group has copies: before, none is made or served. */
  open(): void {
    if (!this.#near.copies || this.#state !== "new") return;
    this.#state = "open";
    this.#ends.push(this.#near.claim(this.#claimKey));
  }

  /** A record, if it may be served from memory. */
  find(key: string): NearRecord | undefined {
    const copy = this.#state === "open" ? this.#copies.get(key) : undefined;
    // C1: at the last moment before it is given away.
    if (copy === undefined || !this.#near.mayServe()) return undefined;
    this.#count("near-hit");
    return copy.value as NearRecord;
  }

  /** C5: to be called before a read is sent, and given to {@link keep} or {@link release} when it is answered. */
  reserve(key: string): Reservation {
    return this.#copies.reserve(key);
  }

  /** What was read becomes a copy, if it may. */
  keep(reservation: Reservation, record: NearRecord & Pick<RecordReply, "mayKeepIn">): void {
    const { raw, remainingMs, seenAt, mayKeepIn } = record;
    const mayKeep = mayKeepIn !== undefined && mayKeepIn !== "" && this.#near.mayKeep(mayKeepIn);
    if (!mayKeep || !isPlain(raw) || this.#state !== "open" || !this.#eviction.isSafe) {
      this.release(reservation);
      return;
    }
    if (!reservation.isVoid) this.#count("copy-kept");
    this.#put(reservation, { raw, remainingMs, seenAt });
  }

  release(reservation: Reservation): void {
    this.#copies.release(reservation);
  }

  /**
   * Lengthens the life of a copy as that of its record is lengthened in Redis.
   *
   * @param touch sends that
   */
  async touch<Outcome>(key: string, lifeMs: number, touch: () => Promise<Outcome | "touched">) {
    const copy = this.#copies.get(key)?.value as NearRecord | undefined;
    // C5: a write that comes in between may give the record a shorter life.
    const reservation = this.#copies.reserve(key);
    const seenAt = performance.now();
    try {
      const outcome = await touch();
      if (outcome !== "touched") this.drop(key);
      else if (copy?.remainingMs !== undefined && lifeMs !== Infinity) {
        this.#put(reservation, { raw: copy.raw, remainingMs: lifeMs, seenAt });
      }
      return outcome;
    } finally {
      this.release(reservation);
    }
  }

  /** This server writes it, or has found it changed. */
  drop(key: string): void {
    if (this.#copies.revoke(key)) this.#count("copy-revoked");
  }

  /** Another server writes it. */
  revoke(key: string): void {
    this.drop(key);
  }

  revokeAll(start: string): void {
    this.#count("copy-revoked", this.#copies.revokeAll(start));
  }

  empty(): void {
    this.#count("copy-revoked", this.#copies.size);
    this.#copies.empty();
    this.#eviction.forget();
  }

  get size(): number {
    return this.#copies.size;
  }

  get bytes(): number {
    return this.#copies.bytes;
  }

  close(): void {
    this.#state = "closed";
    for (const end of this.#ends.splice(0)) end();
    this.#copies.close();
  }

  /** C10: it ends with the record's life, which counts from the sending of the question. */
  #put(reservation: Reservation, record: NearRecord): void {
    const { raw, remainingMs = Infinity, seenAt } = record;
    const endsAt = seenAt + remainingMs * (1 - clockDrift);
    this.#copies.keep(reservation, {
      value: record,
      bytes: Buffer.byteLength(raw),
      endsAt,
      onEvicted: this.#onEvicted,
    });
  }
}

/** Whether it is a session's record and nothing else: not what one that has ended or gone on leaves, nor what may be no text. */
function isPlain(raw: string): boolean {
  return raw !== "" && !isForward(raw) && !raw.includes("\uFFFD");
}
