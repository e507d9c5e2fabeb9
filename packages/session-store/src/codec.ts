import { isDeepStrictEqual } from "node:util";
import { hasPrototypeKey, isPlainObject } from "./json.ts";

/** Turns sessions into text and back; `JSON` is the default. `parse` must give plain data that `stringify` understands. */
export interface Serializer {
  /** @returns what {@link Serializer.stringify} was given */
  parse(text: string): unknown;
  /** @returns the text to store */
  stringify(value: unknown): string;
}

/** A session's own fields as they are stored, `cookie` among them. */
export type SessionFields = Record<string, unknown>;

/** What Lockstep remembers with a session. It travels in the record under one reserved name that handlers never see. */
export interface RecordMeta {
  /** The version of this format. */
  readonly v: 1;
  /** When the session was born, ms on the wall clock. */
  readonly created: number;
  /** Names the commit that wrote this text. No two texts are the same, so a commit knows its own work when it meets it. */
  readonly write: string;
}

/** A record, decoded. `meta` is `undefined` where another store wrote it (connect-redis). */
export interface DecodedRecord {
  readonly fields: SessionFields;
  readonly meta: RecordMeta | undefined;
}

/** What decides a record's life. */
export interface RecordHead {
  readonly created: number | undefined;
  readonly originalMaxAge: unknown;
}

/** A record that is not a session of ours, or not one that is safe to use. It says what is wrong, never a value. */
export class CorruptRecord extends Error {
  override readonly name = "CorruptRecord";
}

const reserved = "__lockstep";

/** The start of every text that {@link Codec.encode} writes with JSON: read without parsing the rest. */
const headPattern = new RegExp(
  `^\\{"${reserved}":\\{"v":1,"created":(\\d+),"write":"[^"]*"\\},"cookie":\\{"originalMaxAge":(null|-?[\\d.]+)[,}]`,
);

/** Records to text and back. Pure. */
export class Codec {
  readonly #serializer: Serializer;

  constructor(serializer: Serializer) {
    this.#serializer = serializer;
  }

  /**
   * @param fields `cookie` may be an instance of express-session's Cookie
   * @throws TypeError where the serializer can't write it, or a key is named `__proto__`
   */
  encode(fields: SessionFields, meta: RecordMeta | undefined): string {
    // A handler that uses our name is not heard: it would overwrite when the session was born.
    const { cookie, [reserved]: _ours, ...rest } = fields;
    const text = this.#serializer.stringify({ ...(meta && { [reserved]: meta }), cookie, ...rest });
    if (hasPrototypeKey(text, fields)) throw new TypeError('A session can\'t hold a key named "__proto__".');
    return text;
  }

  /** @throws {@link CorruptRecord} */
  decode(text: string): DecodedRecord {
    const parsed = this.#parse(text);
    if (!isPlainObject(parsed)) throw new CorruptRecord("not an object");
    if (!isPlainObject(parsed.cookie)) throw new CorruptRecord("without a cookie");
    if (hasPrototypeKey(text, parsed)) throw new CorruptRecord('a key named "__proto__"');
    const { [reserved]: meta, ...fields } = parsed;
    return { fields, meta: asMeta(meta) };
  }

  /** What decides the record's life, without parsing it where this codec wrote it. @throws {@link CorruptRecord} */
  head(text: string): RecordHead {
    const match = this.#serializer === JSON ? headPattern.exec(text) : null;
    if (match) return { created: Number(match[1]), originalMaxAge: match[2] === "null" ? null : Number(match[2]) };
    const { fields, meta } = this.decode(text);
    return { created: meta?.created, originalMaxAge: (fields.cookie as SessionFields).originalMaxAge };
  }

  /**
   * Whether `fields` are what `text` holds, the metadata and the moving `cookie.expires` apart (S1).
   *
   * @param stored what {@link Codec.decode} gave for `text`
   */
  holds(text: string, stored: { meta: RecordMeta | undefined; expires: unknown }, fields: SessionFields): boolean {
    const cookie = { ...(fields.cookie as SessionFields), expires: stored.expires };
    const same = this.encode({ ...fields, cookie }, stored.meta);
    // Nearly always the text itself; another writer may have ordered or spaced it differently.
    return same === text || isDeepStrictEqual(this.#serializer.parse(same), this.#serializer.parse(text));
  }

  #parse(text: string): unknown {
    try {
      return this.#serializer.parse(text);
    } catch (cause) {
      throw new CorruptRecord("not readable", { cause });
    }
  }
}

/** The fields of a live session: its own properties, with express-session's Cookie taken apart. */
export function fieldsOf(session: object): SessionFields {
  const fields: SessionFields = { ...session };
  const cookie = fields.cookie as { toJSON?: () => SessionFields } | undefined;
  fields.cookie = typeof cookie?.toJSON === "function" ? cookie.toJSON() : { ...cookie };
  return fields;
}

function asMeta(meta: unknown): RecordMeta | undefined {
  if (meta === undefined) return undefined;
  if (!isPlainObject(meta) || meta.v !== 1) throw new CorruptRecord("written by a newer version");
  if (typeof meta.created !== "number" || typeof meta.write !== "string") throw new CorruptRecord("metadata damaged");
  return { v: 1, created: meta.created, write: meta.write };
}
