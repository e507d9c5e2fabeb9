/** Someone who hears what is published on the channels they subscribed to. */
export interface Subscriber {
  isSubscribed(channel: string): boolean;
  tell(channel: string, message: string): void;
}

interface Entry {
  readonly value: string | ReadonlyMap<string, number>;
  /** When it ends, ms on the wall clock; `Infinity`: never. */
  expiresAt: number;
}

/** What a Redis keeps, as far as sessions need it: texts and sorted sets under keys that expire by the clock, and channels. */
export class MemoryServer {
  readonly #entries = new Map<string, Entry>();
  readonly #subscribers = new Set<Subscriber>();

  /** @returns `undefined` if there is none */
  text(key: string): string | undefined {
    const value = this.#living(key)?.value;
    if (typeof value === "object") throw wrongType();
    return value;
  }

  /** @param lifeMs `Infinity`: no expiry */
  setText(key: string, text: string, lifeMs: number): void {
    this.#entries.set(key, { value: text, expiresAt: Date.now() + lifeMs });
  }

  /** Members and their scores. */
  sortedSet(key: string): ReadonlyMap<string, number> {
    const value = this.#living(key)?.value;
    if (typeof value === "string") throw wrongType();
    return value ?? new Map<string, number>();
  }

  setMember(key: string, member: string, score: number): void {
    const value = new Map(this.sortedSet(key)).set(member, score);
    this.#entries.set(key, { value, expiresAt: Infinity });
  }

  /** @returns whether it was there */
  removeMember(key: string, member: string): boolean {
    const value = new Map(this.sortedSet(key));
    const wasThere = value.delete(member);
    if (value.size === 0) this.#entries.delete(key);
    else this.#entries.set(key, { value, expiresAt: Infinity });
    return wasThere;
  }

  /** @returns whether it was there */
  delete(key: string): boolean {
    return this.#living(key) !== undefined && this.#entries.delete(key);
  }

  type(key: string): "none" | "string" | "zset" {
    const entry = this.#living(key);
    if (!entry) return "none";
    return typeof entry.value === "string" ? "string" : "zset";
  }

  /** As PTTL: -1 without expiry, -2 where there is nothing. */
  remainingMs(key: string): number {
    const entry = this.#living(key);
    if (!entry) return -2;
    return entry.expiresAt === Infinity ? -1 : entry.expiresAt - Date.now();
  }

  /** @param lifeMs from now */
  expire(key: string, lifeMs: number): boolean {
    const entry = this.#living(key);
    if (entry) entry.expiresAt = Date.now() + lifeMs;
    return entry !== undefined;
  }

  keys(): string[] {
    return [...this.#entries.keys()].filter((key) => this.#living(key));
  }

  join(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
  }

  leave(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** @returns how many will hear it: not before what is under way has ended, as over a network */
  publish(channel: string, message: string): number {
    const hearing = [...this.#subscribers].filter((subscriber) => subscriber.isSubscribed(channel));
    for (const subscriber of hearing) {
      queueMicrotask(() => {
        if (subscriber.isSubscribed(channel)) subscriber.tell(channel, message);
      });
    }
    return hearing.length;
  }

  #living(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry && entry.expiresAt <= Date.now()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }
}

/** As ioredis gives what Redis refuses. */
function wrongType(): Error {
  const error = new Error("WRONGTYPE Operation against a key holding the wrong kind of value");
  return Object.assign(error, { name: "ReplyError" });
}
