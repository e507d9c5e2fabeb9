import { LRUCache } from "lru-cache";
import type { CopyHolder } from "./near.ts";

/** What a server keeps of an entry in its own memory. */
export interface Copy {
  /** The value, deeply frozen: all callers are handed the same. */
  readonly value: unknown;
  /** What it counts for in the bound on bytes: those of its JSON, at least 1. */
  readonly bytes: number;
  /** When it ends, on the clock of `performance.now()`. */
  readonly endsAt: number;
  /** Called when it goes for want of room. */
  readonly onEvicted: () => void;
}

/** A note that a read was sent whose answer may become a copy: void once a write has come between (C5). */
export interface Reservation {
  readonly key: string;
  isVoid: boolean;
}

/** What a copy costs beside its value: its key, its place in the list. */
const overheadBytes = 200;

/**
 * Near copies: the values that this process has read last, within so many entries and bytes. Whether one may be served is for
 * who asks: under a lease (C1), or for a bounded time.
 */
export class Copies implements CopyHolder {
  readonly #copies: LRUCache<string, Copy>;
  #isClosed = false;
  /** Of the reads under way. */
  readonly #reservations = new Map<string, Set<Reservation>>();

  constructor({ maxEntries, maxBytes }: { maxEntries: number; maxBytes: number }) {
    this.#copies = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      sizeCalculation: ({ bytes }, key) => bytes + 2 * key.length + overheadBytes,
      dispose: (copy, _key, reason) => {
        if (reason === "evict") copy.onEvicted();
      },
    });
  }

  /** How many there are, ended ones that nobody has asked for included. */
  get size(): number {
    return this.#copies.size;
  }

  /** What they count for in the bound on bytes. */
  get bytes(): number {
    return this.#copies.calculatedSize;
  }

  /** @param now on the clock of `performance.now()` */
  get(key: string, now = performance.now()): Copy | undefined {
    const copy = this.#copies.get(key);
    if (copy === undefined || now < copy.endsAt) return copy;
    this.#copies.delete(key);
    return undefined;
  }

  /** To be called before a read is sent, and given to {@link keep} or {@link release} when it is answered. */
  reserve(key: string): Reservation {
    const reservation = { key, isVoid: false };
    const others = this.#reservations.get(key);
    if (others === undefined) this.#reservations.set(key, new Set([reservation]));
    else others.add(reservation);
    return reservation;
  }

  /** Keeps what was read, unless a write has come between. */
  keep(reservation: Reservation, copy: Copy): void {
    this.release(reservation);
    const isCurrent = !reservation.isVoid && copy.endsAt > performance.now();
    if (isCurrent && !this.#isClosed) this.#copies.set(reservation.key, copy);
  }

  /** The read gave nothing to keep. */
  release(reservation: Reservation): void {
    const { key } = reservation;
    const all = this.#reservations.get(key);
    all?.delete(reservation);
    if (all?.size === 0) this.#reservations.delete(key);
  }

  /** A write has come: the copy goes, and what reads under way bring becomes none. @returns whether there was one */
  revoke(key: string): boolean {
    for (const reservation of this.#reservations.get(key) ?? []) reservation.isVoid = true;
    this.#reservations.delete(key);
    return this.#copies.delete(key);
  }

  /** The same for all keys. */
  empty(): void {
    for (const reservations of this.#reservations.values()) {
      for (const reservation of reservations) reservation.isVoid = true;
    }
    this.#reservations.clear();
    this.#copies.clear();
  }

  /** Empties it for good: to be called when nobody tells it any more which copies to drop. */
  close(): void {
    this.#isClosed = true;
    this.empty();
  }

  /** The same for all keys that start so. @returns how many there were */
  revokeAll(start: string): number {
    const keys = [...this.#copies.keys(), ...this.#reservations.keys()].filter((key) => key.startsWith(start));
    return keys.filter((key) => this.revoke(key)).length;
  }
}
