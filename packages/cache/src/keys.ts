import slotOf from "cluster-key-slot";
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
  /** The first of them. @throws {@link CacheError} `INVALID_ID` */
  entryOf(id: string): string;
  /** The keys that a key found in Redis belongs to. */
  owning(key: string): EntryKeys;
  /** What all entries and marks start with, and nothing else does. */
  readonly start: string;
}

/** Longer ids come from outside, and each is sent to Redis. */
const maxIdLength = 512;

/** The format of entries and marks. Servers of different formats never share a key. */
const version = 2;

/** How many ids' keys are remembered: to put one together, and to hash it, takes longer than the rest of a near hit. */
const maxKnown = 10_000;

const markSuffix = ":pending";

/**
 * `<cache>:2:{<collection>:<id>}` and the same with `:pending`. The braces, which no id can hold, put both in one slot
 * (Redis Cluster specification, hash tags) and keep one id from naming another's key.
 */
export function createKeys(cache: string, collection: string): Keys {
  const start = `${cache}:${version}:{${collection}:`;
  const known = new Map<string, string>();
  const entryOf = (id: string) => known.get(id) ?? spell(id);
  const spell = (id: string) => {
    const entry = `${start}${escapeId(checkedId(collection, id))}}`;
    if (known.size >= maxKnown) known.clear();
    known.set(id, entry);
    return entry;
  };
  const keysOf = (entry: string) => ({ entry, mark: entry + markSuffix });
  return {
    entryOf,
    of(id) {
      return keysOf(entryOf(String(id)));
    },
    owning: (key) => keysOf(key.endsWith(markSuffix) ? key.slice(0, -markSuffix.length) : key),
    start,
  };
}

/** A pattern for the marks of all collections. */
export function markPattern(cache: string): string {
  return `${cache}:${version}:{*}${markSuffix}`;
}

/** Where members of a group say that they keep near copies of a cache's entries. */
export function claimKey(cache: string): string {
  return `${cache}:${version}:near`;
}

/** No entry's and no mark's: by it a server is tried. */
export function probeKey(cache: string): string {
  return `${cache}:${version}:probe`;
}

/** The keys of a part of a write-behind collection, in one Cluster slot with its entries. */
export interface PartitionKeys {
  /** Who saves its rows. */
  readonly lease: string;
  /** Rows that wait to be saved, by the time they are due. */
  readonly queue: string;
  /** The same rows by the time since which they have been waiting. */
  readonly since: string;
  /** By when rows must be due to be due now. */
  readonly hurry: string;
  /** Rows that have failed alone. */
  readonly failures: string;
  /** Dead letters. */
  readonly dead: string;
  /** The last version that was given. */
  readonly clock: string;
  /** The entry of a row. */
  readonly entry: (row: string) => string;
  /** What is remembered of a write for as long as it may arrive again. */
  readonly token: (token: string) => string;
}

/** The keys of one entry of a write-behind collection. */
export interface RowKeys extends EntryKeys {
  /** Its name in its partition's queue, which is its mark: as long as it is there the source lacks its value. */
  readonly row: string;
  readonly partition: PartitionKeys;
}

/** The one place that spells the keys of write-behind collections. */
export interface QueueKeys {
  /** @throws {@link CacheError} `INVALID_ID` */
  of(id: string): RowKeys;
  readonly partitions: readonly PartitionKeys[];
}

/** The same on all servers, for ever: a row is looked for in the partition that it was put in. */
const partitionCount = 16;

/**
 * `<cache>:2:{<collection>/<partition>}:` and a name of this package's, or `entry:` or `token:` and one of the caller's. No collection has a
 * slash in its name, so these are no keys of {@link createKeys}.
 */
export function createQueueKeys(cache: string, collection: string): QueueKeys {
  const partitions = Array.from({ length: partitionCount }, (_, index): PartitionKeys => {
    const start = `${cache}:${version}:{${collection}/${index}}:`;
    return {
      lease: `${start}lease`,
      queue: `${start}queue`,
      since: `${start}since`,
      hurry: `${start}hurry`,
      failures: `${start}failures`,
      dead: `${start}dead`,
      clock: `${start}clock`,
      entry: (row) => `${start}entry:${row}`,
      token: (token) => `${start}token:${token}`,
    };
  });
  return {
    partitions,
    of(id) {
      const row = escapeId(checkedId(collection, id));
      const partition = partitions[slotOf(row) % partitionCount] as PartitionKeys;
      return { entry: partition.entry(row), mark: partition.queue, row, partition };
    },
  };
}

/** The id of a row. */
export function idOfRow(row: string): string {
  return row.replaceAll(/%(25|7b|7d|d[89a-f][\da-f]{2})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

function checkedId(collection: string, id: string): string {
  if (id !== "" && id.length <= maxIdLength) return id;
  throw new CacheError("INVALID_ID", `An id in collection "${collection}" must have 1 to ${maxIdLength} characters.`);
}

/**
 * Percent-encodes what would end the hash tag, the percent sign itself, and halves of surrogate pairs: UTF-8 has none, so
 * that all of them would be one replacement character in Redis.
 */
function escapeId(id: string): string {
  // Most ids have none of it, nor a surrogate at all, paired or not: asking is quicker than replacing nothing.
  if (!/[%{}\uD800-\uDFFF]/.test(id)) return id;
  return id.replaceAll(/[%{}]|\p{Surrogate}/gu, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
