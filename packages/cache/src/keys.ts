import { CacheError } from "./errors.ts";

/** The two keys of one entry, in one Cluster slot. */
export interface EntryKeys {
  /** Its value, or the token of who loads it. */
  readonly entry: string;
  /** Its pending writes. */
  readonly mark: string;
}

/** The one place that spells this package's Redis keys. */
export interface Keys {
  /** @throws {@link CacheError} `INVALID_ID` */
  of(id: string | number): EntryKeys;
  /** The keys that a key found in Redis belongs to. */
  owning(key: string): EntryKeys;
  /** What all entries and marks start with, and nothing else does. */
  readonly start: string;
}

/** Longer ids come from outside, and each is sent to Redis. */
const maxIdLength = 512;

/** The format of entries and marks. Servers of different formats never share a key. */
const version = 2;

const markSuffix = ":pending";

/**
 * `<cache>:2:{<collection>:<id>}` and the same with `:pending`. The braces, which no id can hold, put both in one slot
 * (Redis Cluster specification, hash tags) and keep one id from naming another's key.
 */
export function createKeys(cache: string, collection: string): Keys {
  const start = `${cache}:${version}:{${collection}:`;
  const keysOf = (entry: string) => ({ entry, mark: entry + markSuffix });
  return {
    of(id) {
      const text = String(id);
      if (text === "" || text.length > maxIdLength) {
        throw new CacheError(
          "INVALID_ID",
          `An id in collection "${collection}" must have 1 to ${maxIdLength} characters.`,
        );
      }
      return keysOf(`${start}${escapeId(text)}}`);
    },
    owning: (key) => keysOf(key.endsWith(markSuffix) ? key.slice(0, -markSuffix.length) : key),
    start,
  };
}

/** A pattern for the marks of all collections. */
export function markPattern(cache: string): string {
  return `${cache}:${version}:{*}${markSuffix}`;
}

/**
 * Percent-encodes what would end the hash tag, the percent sign itself, and halves of surrogate pairs: UTF-8 has none, so
 * that all of them would be one replacement character in Redis.
 */
function escapeId(id: string): string {
  return id.replaceAll(/[%{}]|\p{Surrogate}/gu, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
