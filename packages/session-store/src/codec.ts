import { isDeepStrictEqual } from "node:util";
import { serialize } from "cookie";
import { isForward } from "./forward.ts";
import { isPlainObject, unsafety } from "./json.ts";

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
  /**
   * Names of the last commits, the one that wrote this text first. So no two texts are alike, and a commit whose answer
   * was lost finds out, from a later text, that it was stored.
   */
  readonly writes: readonly string[];
  /** Whose it is, by the user's name in the index; `null`: nobody's; `undefined`: written where no index is kept. */
  readonly user?: string | null | undefined;
}

/** A record, decoded. `meta` is `undefined` where another store wrote it (connect-redis). */
export interface DecodedRecord {
  readonly fields: SessionFields;
  readonly meta: RecordMeta | undefined;
}

/** What decides a record's life, and whose it is. */
export interface RecordHead {
  readonly created: number | undefined;
  readonly originalMaxAge: unknown;
  readonly user: string | null | undefined;
}

/** What a session holds, to be used at once. The JSON of its fields is made once: to see whether it has changed, and to store it. */
export class Snapshot {
  readonly fields: SessionFields;
  #rest: string | undefined;

  constructor(fields: SessionFields) {
    this.fields = fields;
  }

  /** All but the cookie and what is under our name, as JSON. */
  get rest(): string {
    return (this.#rest ??= JSON.stringify(this.#withoutCookie()));
  }

  #withoutCookie(): SessionFields {
    const fields: SessionFields = { ...this.fields, cookie: undefined };
    // A handler that uses our name is not heard: it would overwrite when the session was born.
    if (Object.hasOwn(fields, reserved)) fields[reserved] = undefined;
    // One of a session's own would decide alone what the others become.
    if (typeof fields.toJSON === "function") fields.toJSON = undefined;
    return fields;
  }
}

/** A record that is not a session of ours, or not one that is safe to use. It says what is wrong, never a value. */
export class CorruptRecord extends Error {
  override readonly name = "CorruptRecord";
}

/** The name in a record's JSON that is ours. */
export const reserved = "__lockstep";

/** What an encrypted record starts with: JSON never does, and other serializers are held to that. */
export const sealedMark = "E1.";

const ownStart = `{"${reserved}":`;
const ownPart = `\\${ownStart}\\{"v":1,"created":(\\d+),"writes":\\[[^\\]]*\\](?:,"user":(null|"[\\w-]+"))?\\},`;

/** What is ours at the start of every text that {@link Codec.encode} writes with JSON; and the same, as far as a record's life goes. */
const ownPattern = new RegExp(ownPart, "y");
const headPattern = new RegExp(`^${ownPart}"cookie":\\{"originalMaxAge":(null|-?[\\d.]+)[,}]`);

/** Records to text and back. Pure. */
export class Codec {
  readonly #serializer: Serializer;
  /** The attributes that were last found fit to be sent: nearly all cookies of an app have the same. */
  #sendable: SessionFields = {};

  constructor(serializer: Serializer) {
    this.#serializer = serializer;
  }

  /**
   * @throws TypeError where the serializer can't write it, or a key is named `__proto__`
   * @throws {@link CorruptRecord} for a cookie with which it could not be read
   */
  encode(held: Snapshot, meta: RecordMeta | undefined): string {
    this.#checkCookie(held.fields.cookie as SessionFields);
    return this.#checked(this.#stringify(held, meta), held.fields);
  }

  /** @throws {@link CorruptRecord} */
  decode(text: string): DecodedRecord {
    const bodyAt = this.#bodyAt(text);
    if (bodyAt === undefined) {
      const { [reserved]: meta, ...fields } = this.#fields(text);
      return { fields, meta: asMeta(meta) };
    }
    const fields = this.#fields(`{${text.slice(bodyAt)}`);
    if (Object.hasOwn(fields, reserved)) throw new CorruptRecord("with metadata twice");
    return { fields, meta: asMeta(this.#parse(text.slice(ownStart.length, bodyAt - 1))) };
  }

  /** Where the session's own fields begin in a text that this codec wrote with JSON. */
  #bodyAt(text: string): number | undefined {
    ownPattern.lastIndex = 0;
    return this.#serializer === JSON && ownPattern.test(text) ? ownPattern.lastIndex : undefined;
  }

  #fields(text: string): SessionFields {
    const parsed = this.#parse(text);
    if (!isPlainObject(parsed)) throw new CorruptRecord("not an object");
    const unsafe = this.#unsafety(text, parsed);
    if (unsafe) throw new CorruptRecord(unsafe);
    if (!isPlainObject(parsed.cookie)) throw new CorruptRecord("without a cookie");
    this.#checkCookie(parsed.cookie);
    return parsed;
  }

  /** What decides the record's life, without parsing it where this codec wrote it. @throws {@link CorruptRecord} */
  head(text: string): RecordHead {
    const match = this.#serializer === JSON ? headPattern.exec(text) : null;
    if (match) {
      const [, created, user, maxAge] = match;
      return {
        created: Number(created),
        user: user === undefined ? undefined : (JSON.parse(user) as string | null),
        originalMaxAge: maxAge === "null" ? null : Number(maxAge),
      };
    }
    const { fields, meta } = this.decode(text);
    return {
      created: meta?.created,
      user: meta?.user,
      originalMaxAge: (fields.cookie as SessionFields).originalMaxAge,
    };
  }

  /**
   * Whether a session holds what `text` does, the metadata and the moving `cookie.expires` apart (S1).
   *
   * @param stored what {@link Codec.decode} gave for `text`
   */
  holds(text: string, stored: { meta: RecordMeta | undefined; expires: unknown }, held: Snapshot): boolean {
    const cookie = { ...(held.fields.cookie as SessionFields), expires: stored.expires };
    const bodyAt = this.#bodyAt(text);
    // Written here, it would be the same text. Another writer may have ordered or spaced it differently.
    if (bodyAt !== undefined) return isBody(this.#stringify(held, undefined, cookie), text, bodyAt);
    const written = this.#stringify(held, stored.meta, cookie);
    if (written === text) return true;
    return isDeepStrictEqual(this.#serializer.parse(this.#checked(written, held.fields)), this.#serializer.parse(text));
  }

  /** @param cookie in the place of the session's */
  #stringify(held: Snapshot, meta: RecordMeta | undefined, cookie = held.fields.cookie): string {
    if (this.#serializer !== JSON) {
      const { cookie: _other, [reserved]: _ours, ...others } = held.fields;
      return this.#serializer.stringify({ ...(meta && { [reserved]: meta }), cookie, ...others });
    }
    const start = meta ? `${ownStart}${JSON.stringify(meta)},` : "{";
    const [cookieText, rest] = [JSON.stringify(cookie) as string | undefined, held.rest.slice(1)];
    if (!cookieText?.startsWith("{")) throw new TypeError("A session can't be stored with a cookie that is no object.");
    return `${start}"cookie":${cookieText}${rest === "}" ? rest : `,${rest}`}`;
  }

  /** @returns `text`, which is safe to be read back */
  #checked(text: string, fields: SessionFields): string {
    const unsafe = isReserved(text) ? "a text that starts as one of ours" : this.#unsafety(text, fields);
    if (unsafe) throw new TypeError(`A session can't be stored with ${unsafe}.`);
    return text;
  }

  /** A cookie that express-session could not take up, or could not send, would be an error at every request. */
  #checkCookie(cookie: SessionFields): void {
    if (!isTime(cookie.originalMaxAge) || !isTime(cookie.maxAge)) {
      throw new CorruptRecord("with a cookie whose maxAge is no time");
    }
    if (!isDate(cookie.expires)) throw new CorruptRecord("with a cookie that can't be sent");
    if (isSentAs(cookie, this.#sendable)) return;
    const { originalMaxAge: _life, maxAge: _age, expires: _end, ...attributes } = cookie;
    try {
      serialize("name", "value", attributes);
    } catch (cause) {
      throw new CorruptRecord("with a cookie that can't be sent", { cause });
    }
    this.#sendable = attributes;
  }

  #unsafety(text: string, value: unknown): string | undefined {
    return unsafety(this.#serializer === JSON ? text : undefined, value);
  }

  #parse(text: string): unknown {
    try {
      return this.#serializer.parse(text);
    } catch {
      // Without its cause: V8 quotes the text that it can't parse.
      throw new CorruptRecord("not readable");
    }
  }
}

/** Whether a serializer's text would be taken for none, for a forward or for an encrypted one. */
function isReserved(text: string): boolean {
  return text === "" || isForward(text) || text.startsWith(sealedMark);
}

/** The fields of a live session: its own properties, with express-session's Cookie taken apart. */
export function fieldsOf(session: object): SessionFields {
  const fields: SessionFields = { ...session };
  const cookie = fields.cookie as { toJSON?: () => SessionFields } | undefined;
  fields.cookie = typeof cookie?.toJSON === "function" ? cookie.toJSON() : { ...cookie };
  return fields;
}

function isTime(value: unknown): boolean {
  return value == null || value === false || (typeof value === "number" && Math.abs(value) < 1e15);
}

/** Whether it is one that a `Date` can hold, in ms since 1970: whatever a clock may have told. */
function isMoment(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= 8.64e15;
}

function isDate(value: unknown): boolean {
  if (value == null || value === false) return true;
  try {
    return !Number.isNaN(new Date(value as string).getTime());
  } catch {
    return false; // It calls the methods of an object, which may be none.
  }
}

/** Whether a cookie has these attributes, and no others but when it ends. What is `undefined` is not there. */
function isSentAs(cookie: SessionFields, attributes: SessionFields): boolean {
  const has = (key: string) => cookie[key] === attributes[key];
  return Object.keys(attributes).every(has) && Object.keys(cookie).every((key) => times.has(key) || has(key));
}

const times: ReadonlySet<string> = new Set(["originalMaxAge", "maxAge", "expires"]);

/** Whether a JSON object is what stands in a text from `at` on, after another key. */
function isBody(json: string, text: string, at: number): boolean {
  return text.length - at === json.length - 1 && text.startsWith(json.slice(1), at);
}

function asMeta(meta: unknown): RecordMeta | undefined {
  if (meta === undefined) return undefined;
  if (!isPlainObject(meta) || meta.v !== 1) throw new CorruptRecord("written by a newer version");
  const { created, writes, user } = meta;
  const isUser = user == null || typeof user === "string";
  const isWrites = Array.isArray(writes) && writes.every((name) => typeof name === "string");
  if (!isMoment(created) || !isWrites || !isUser) throw new CorruptRecord("metadata damaged");
  return { v: 1, created, writes, user };
}
