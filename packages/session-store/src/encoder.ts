import { randomBytes } from "node:crypto";
import {
  type Codec,
  CorruptRecord,
  type DecodedRecord,
  type RecordMeta,
  type SessionFields,
  Snapshot,
  fieldsOf,
} from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import { absoluteEnd, decideIdleMs, recordLifeMs } from "./expiry.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Records } from "./records.ts";
import type { Base } from "./tracked-session.ts";
import type { UserIndex } from "./user-index.ts";

/** How many commits a record remembers by name, and how many unconfirmed ones a request does. */
export const maxRemembered = 8;

/** A session as it is to be stored, and what is known of it then. */
export interface Encoded {
  readonly text: string;
  /** `Infinity`: no expiry; 0 or less: it has ended. */
  readonly lifeMs: number;
  /** When the absolute limit ends it, ms on the wall clock. */
  readonly endsAt: number | undefined;
  readonly head: { readonly meta: RecordMeta; readonly expires: unknown };
}

/** What sessions are as records: what they would be stored as, and whether they are stored so already. */
export class Encoder {
  readonly #options: ResolvedOptions;
  readonly #records: Records;
  readonly #codec: Codec;
  readonly #index: UserIndex;
  // Random per engine and counted within it: unique without asking for randomness at each commit.
  readonly #writer = randomBytes(6).toString("base64url");
  #writes = 0;

  constructor(options: ResolvedOptions, parts: { records: Records; codec: Codec; index: UserIndex }) {
    this.#options = options;
    this.#records = parts.records;
    this.#codec = parts.codec;
    this.#index = parts.index;
  }

  /**
   * @param base what it is stored over; `undefined`: nothing
   * @param held the same as `fields`, where its text was made before
   * @throws {@link SessionStoreError} `TOO_LARGE` or `INVALID_SESSION`
   */
  encode(fields: SessionFields, base: Base | undefined, held = new Snapshot(fields)): Encoded {
    const before = base && this.headOf(base).meta;
    const created = before?.created ?? Date.now();
    const writes = this.#nextWrites(before);
    const user = this.#userOf(fields, before);
    const meta: RecordMeta = { v: 1, created, writes, ...(user !== undefined && { user }) };
    const text = serializable(() => this.#codec.encode(held, meta));
    const [bytes, limit] = [Buffer.byteLength(text), this.#options.maxBytes];
    if (bytes > limit) {
      const message = `The session has ${bytes} bytes, more than maxBytes (${limit}); not stored.`;
      throw new SessionStoreError("TOO_LARGE", message);
    }
    const { originalMaxAge, expires } = fields.cookie as SessionFields;
    const idleMs = decideIdleMs(this.#options.idleMs, originalMaxAge, () => this.read(text).fields);
    return {
      text,
      lifeMs: recordLifeMs(idleMs),
      endsAt: absoluteEnd(created, this.#options.absoluteMs),
      head: { meta, expires: expires instanceof Date ? expires.toJSON() : expires },
    };
  }

  /** A record's text with another commit's name to it, and nothing else changed: whoever is about to commit over it must look again. */
  renew(text: string): string {
    const { fields, meta } = this.#codec.decode(text);
    const before = meta ?? { v: 1, created: Date.now(), writes: [] };
    return this.#codec.encode(new Snapshot(fields), { ...before, writes: this.#nextWrites(before) });
  }

  #nextWrites(before: RecordMeta | undefined): string[] {
    const write = `${this.#writer}-${(this.#writes += 1).toString(36)}`;
    return [write, ...(before?.writes ?? [])].slice(0, maxRemembered);
  }

  /**
   * Whether a record holds a session already, as it would be stored now.
   *
   * @throws {@link SessionStoreError} `INVALID_SESSION` for what can't be stored
   */
  holds(base: Base | undefined, held: Snapshot): boolean {
    return serializable(() => {
      if (base === undefined || this.isOutdated(base)) return false;
      const head = this.headOf(base);
      return head.meta?.user === this.#userOf(held.fields, head.meta) && this.#codec.holds(base.text, head, held);
    });
  }

  /** Whether a record lacks what would be stored with it now. @throws CorruptRecord */
  isOutdated(base: Base): boolean {
    if (!this.#records.isCurrent(base)) return true;
    const { absoluteMs, userOf } = this.#options;
    if (absoluteMs === undefined && !userOf) return false;
    const { created, user } = this.#codec.head(base.text);
    return (absoluteMs !== undefined && created === undefined) || (userOf !== undefined && user === undefined);
  }

  /** A session's fields as they would be read back: the handler may go on changing its object, which may hold anything. */
  copy(session: object): SessionFields {
    return serializable(
      () => this.#codec.decode(this.#codec.encode(new Snapshot(fieldsOf(session)), undefined)).fields,
    );
  }

  /** @throws {@link SessionStoreError} `INVALID_SESSION` */
  read(text: string): DecodedRecord {
    try {
      return this.#codec.decode(text);
    } catch (cause) {
      throw unreadable(cause);
    }
  }

  headOf(base: Base): NonNullable<Base["head"]> {
    if (base.head) return base.head;
    const { meta, fields } = this.#codec.decode(base.text);
    return { meta, expires: (fields.cookie as SessionFields).expires };
  }

  /** Whose a session is; where no index is kept it stays whose it was. */
  #userOf(fields: SessionFields, before: RecordMeta | undefined): string | null | undefined {
    const user = this.#index.userOf(fields);
    return user === undefined ? before?.user : user;
  }
}

/** A record that stands in the way and can't be read. */
export function unreadable(cause: unknown): unknown {
  if (!(cause instanceof CorruptRecord)) return cause;
  return new SessionStoreError("INVALID_SESSION", "The stored record can't be read; it was left as it is.", { cause });
}

function serializable<T>(encode: () => T): T {
  try {
    return encode();
  } catch (cause) {
    if (cause instanceof SessionStoreError) throw cause;
    throw new SessionStoreError("INVALID_SESSION", "The session can't be serialised; nothing was stored.", { cause });
  }
}
