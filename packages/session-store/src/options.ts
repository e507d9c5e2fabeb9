import { type Durability, type Near, type RedisClient, keyPrefixOf } from "@lockstep/redis-kit";
import type { Serializer, SessionFields } from "./codec.ts";
import type { SessionEvent } from "./events.ts";
import type { EncryptionOptions } from "./keyring.ts";
import type { IdScheme } from "./keys.ts";
import type { MergeRules, Resolver } from "./merge.ts";

/** Options of the session engine, and so of everything built on it. */
export interface SessionsOptions {
  /** Your ioredis client: one server, Sentinel or Cluster. It stays yours: nothing here configures or closes it. */
  readonly client: RedisClient;
  /** What each Redis key starts with; default `"sess:"`. Two apps on one Redis need two prefixes. */
  readonly prefix?: string | undefined;
  /**
   * How ids stand in Redis; default `"hashed"`: a dump holds no usable id. `"plain"`: connect-redis' own keys, so that
   * servers with connect-redis share the sessions.
   */
  readonly ids?: IdScheme | undefined;
  /**
   * The longest time in ms between two uses of a session whose cookie has no `maxAge`; default 86,400,000 (a day). Given
   * the session's fields, a function decides for every session, `maxAge` or not: 0 or less ends it, `Infinity` never.
   */
  readonly idleMs?: number | ((fields: Readonly<Record<string, unknown>>) => number) | undefined;
  /** The longest life of a session in ms, however much it is used; default none. */
  readonly absoluteMs?: number | undefined;
  /** How long one Redis command may take, in ms; default 500. A load that takes longer fails with `UNAVAILABLE`. */
  readonly commandDeadlineMs?: number | undefined;
  /**
   * When a change counts as stored: once so many replicas have it too, which are waited for so long (`WAIT`). Where they don't, the change fails with
   * `OUTCOME_UNKNOWN`. It takes a connection of its own. Default: once the primary has it, so that a failover may lose what was just acknowledged.
   */
  readonly durability?: Durability | undefined;
  /** How long storing a change may take in all, merges and queueing included, in ms; default 3,500. */
  readonly commitDeadlineMs?: number | undefined;
  /** The largest record in bytes; default 65,536. A larger session fails to be stored with `TOO_LARGE`. */
  readonly maxBytes?: number | undefined;
  /**
   * What to do where two requests changed the very same value; default `"merge"`: the later commit wins, and is counted.
   * `"reject"`: the later commit fails with `CONFLICT`. Changes to different values are merged either way.
   */
  readonly conflict?: "merge" | "reject" | undefined;
  /** JSON Pointers (RFC 6901) of values that are only taken whole, such as `"/checkout"`; default none. */
  readonly atomicPaths?: readonly string[] | undefined;
  /** Rules for values that both changed, by JSON Pointer, such as `{ "/visits": sum }`; default none. */
  readonly resolve?: Readonly<Record<string, Resolver>> | undefined;
  /** How sessions become text; default `JSON`. */
  readonly serializer?: Serializer | undefined;
  /**
   * Whose a session is, given its fields: the user's id, `undefined` for nobody's. With it the engine keeps an index:
   * sessions can be listed and ended by user. Default: no index.
   */
  readonly userOf?: ((fields: Readonly<SessionFields>) => string | number | null | undefined) | undefined;
  /** How many sessions a user may have, and what happens at one more; needs `userOf`. Default: any number. */
  readonly maxPerUser?: UserLimit | undefined;
  /** How often the index is swept of sessions that have expired, in ms, so how late that is told; default 60,000. */
  readonly sweepMs?: number | undefined;
  /** Sessions under the other scheme's keys are found too, and move over at their first use. */
  readonly migrateFrom?: IdScheme | undefined;
  /** Other servers have `migrateFrom` this scheme: the sessions that they moved are found where they are. */
  readonly migrateTo?: IdScheme | undefined;
  /** Encrypts the records; hashed ids only. Default: none. */
  readonly encryption?: EncryptionOptions | undefined;
  /**
   * This server's membership in a group of near copies, from `joinNearCache` of `@lockstep/near-cache` with the same client: sessions are then
   * read from memory, and nobody is shown one that has changed since. All servers that write these sessions must be members; ids must be
   * hashed, and Redis' `maxmemory-policy` must be `noeviction`. Default: each load asks Redis.
   */
  readonly near?: Near | undefined;
  /** How many near copies this engine keeps; default 10,000. */
  readonly maxCopies?: number | undefined;
  /** How many bytes they may hold, their keys included; default 67,108,864 (64 MiB). */
  readonly maxCopyBytes?: number | undefined;
  /** Told of each {@link SessionEvent}, once, as it happens. What it throws becomes a process warning. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
}

/** A bound on the sessions of one user. */
export interface UserLimit {
  /** How many there may be. */
  readonly sessions: number;
  /** `"reject"`: the one more is refused with `TOO_MANY_SESSIONS`; `"oldest"`: the oldest ends. */
  readonly beyond: "reject" | "oldest";
}

/** Options as the engine uses them: checked, and none missing. */
export interface ResolvedOptions {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly ids: IdScheme;
  readonly idleMs: number | ((fields: Readonly<Record<string, unknown>>) => number);
  readonly absoluteMs: number | undefined;
  readonly commandDeadlineMs: number;
  readonly commitDeadlineMs: number;
  readonly durability: Durability | undefined;
  readonly maxBytes: number;
  readonly rejectConflicts: boolean;
  readonly mergeRules: MergeRules;
  readonly serializer: Serializer;
  readonly userOf: SessionsOptions["userOf"];
  readonly maxPerUser: UserLimit | undefined;
  readonly sweepMs: number;
  readonly migrateFrom: IdScheme | undefined;
  readonly migrateTo: IdScheme | undefined;
  readonly encryption: EncryptionOptions | undefined;
  readonly near: Near | undefined;
  readonly maxCopies: number;
  readonly maxCopyBytes: number;
  readonly onEvent: ((event: SessionEvent) => void) | undefined;
}

/**
 * How long a write of a record that others may have near copies of may be pending, in ms (P): for longer than its deadline, by whatever
 * clock.
 */
export function pendingMs({ commitDeadlineMs }: Pick<ResolvedOptions, "commitDeadlineMs">): number {
  return Math.max(5_000, Math.ceil(commitDeadlineMs / 0.99));
}

/**
 * How long a destroyed session is remembered, in ms: for longer than a commit of it can be on its way, which is its
 * deadline and whatever a connection may hold it up after that.
 */
export function tombstoneMs({ commitDeadlineMs }: Pick<ResolvedOptions, "commitDeadlineMs">): number {
  return commitDeadlineMs + 60_000;
}

/** How many keys Redis looks at per step of a walk over all sessions, where nobody says otherwise. */
export const defaultScanCount = 100;

/** The default of {@link SessionsOptions.prefix}. */
const defaultPrefix = "sess:";

/** The default of {@link SessionsOptions.idleMs}. */
const defaultIdleMs = 86_400_000;

/** @throws TypeError naming the first option that can't be meant */
export function resolveOptions(options: SessionsOptions): ResolvedOptions {
  const { client, prefix = defaultPrefix, ids = "hashed", idleMs = defaultIdleMs, conflict = "merge" } = options;
  // Whoever calls from JavaScript, or from a `.env`, is not held back by the types.
  demand(
    "client must be an ioredis client",
    typeof (client as Partial<RedisClient> | undefined)?.evalsha === "function",
  );
  demand("prefix must be a string", typeof prefix === "string");
  demand('ids must be "hashed" or "plain"', ["hashed", "plain"].includes(ids));
  demand('conflict must be "merge" or "reject"', ["merge", "reject"].includes(conflict));
  if (typeof idleMs !== "function") demand("idleMs must be above 0", idleMs > 0);
  checkIndex(options);
  checkMigration(ids, options);
  const commandDeadlineMs = timer("commandDeadlineMs", options.commandDeadlineMs ?? 500);
  const commitDeadlineMs = timer("commitDeadlineMs", options.commitDeadlineMs ?? 3_500);
  if (options.near !== undefined)
    checkNear(options.near, { ...options, prefix, ids, commandDeadlineMs, commitDeadlineMs });
  return {
    client,
    prefix,
    ids,
    idleMs,
    absoluteMs: options.absoluteMs === undefined ? undefined : positive("absoluteMs", options.absoluteMs),
    commandDeadlineMs,
    commitDeadlineMs,
    durability: options.durability && durabilityOf(options.durability, commandDeadlineMs),
    maxBytes: positive("maxBytes", options.maxBytes ?? 65_536),
    rejectConflicts: conflict === "reject",
    mergeRules: {
      atomicPaths: new Set((options.atomicPaths ?? []).map(pointer)),
      resolvers: new Map(Object.entries(options.resolve ?? {}).map(([path, resolver]) => [pointer(path), resolver])),
    },
    serializer: options.serializer ?? JSON,
    userOf: options.userOf,
    maxPerUser: options.maxPerUser,
    sweepMs: timer("sweepMs", options.sweepMs ?? 60_000),
    migrateFrom: options.migrateFrom,
    migrateTo: options.migrateTo,
    encryption: options.encryption,
    near: options.near,
    maxCopies: whole("maxCopies", options.maxCopies ?? 10_000),
    maxCopyBytes: whole("maxCopyBytes", options.maxCopyBytes ?? 64 * 1_024 * 1_024),
    onEvent: options.onEvent,
  };
}

function durabilityOf({ replicas, timeoutMs }: Durability, commandDeadlineMs: number): Durability {
  whole("durability.replicas", replicas);
  // 0 would be for ever.
  whole("durability.timeoutMs", timeoutMs);
  demand("durability.timeoutMs must be less than commandDeadlineMs", timeoutMs < commandDeadlineMs);
  return { replicas, timeoutMs };
}

function checkIndex({ userOf, maxPerUser }: SessionsOptions): void {
  if (maxPerUser === undefined) return;
  demand("maxPerUser needs userOf", userOf !== undefined);
  demand('maxPerUser.beyond must be "reject" or "oldest"', ["reject", "oldest"].includes(maxPerUser.beyond));
  demand("maxPerUser.sessions must be a whole number above 0", Number.isInteger(maxPerUser.sessions));
  positive("maxPerUser.sessions", maxPerUser.sessions);
}

function checkMigration(ids: IdScheme, { migrateFrom, migrateTo, encryption }: SessionsOptions): void {
  demand("only one of migrateFrom and migrateTo can be given", migrateFrom === undefined || migrateTo === undefined);
  const other = migrateFrom ?? migrateTo;
  demand(`ids and the scheme to migrate from or to must differ`, other !== ids);
  demand(
    'migrateFrom and migrateTo must be "hashed" or "plain"',
    other === undefined || ["hashed", "plain"].includes(other),
  );
  const { rollout } = encryption ?? {};
  demand('encryption.rollout must be "read" or "write"', rollout === undefined || ["read", "write"].includes(rollout));
  demand("encryption needs hashed ids", encryption === undefined || ids === "hashed" || other === "hashed");
}

/** How many commands of a write with near copies take turns, at most: begin, revoke, the removal of a silent member, finish. */
const commandsOfWrite = 4;

function checkNear(
  near: Near,
  options: Pick<ResolvedOptions, "client" | "prefix" | "ids" | "commandDeadlineMs" | "commitDeadlineMs"> &
    Pick<SessionsOptions, "migrateFrom" | "migrateTo">,
): void {
  const { client, prefix, ids, migrateFrom, migrateTo, commandDeadlineMs, commitDeadlineMs } = options;
  const isNear = typeof (near as Partial<Near> | null)?.revoke === "function";
  demand("near must be what joinNearCache has returned, for the same client", isNear && near.client === client);
  // Connect-redis, and servers that know but the other scheme, write past the group.
  const isHashed = ids === "hashed" && migrateFrom === undefined && migrateTo === undefined;
  demand('near needs ids "hashed", and no migrateFrom or migrateTo', isHashed);
  // A brace would choose the Cluster slot, of the record and of its mark another one.
  demand("near needs a prefix without braces", !/[{}]/.test(prefix + keyPrefixOf(client)));
  const leastMs = Math.ceil(near.stallMs + commandsOfWrite * commandDeadlineMs);
  const rule = `commitDeadlineMs must be at least ${leastMs} here: a write may have to wait for a server that is silent`;
  demand(`with near, ${rule}`, commitDeadlineMs >= leastMs);
}

function demand(rule: string, kept: boolean): void {
  if (!kept) throw new TypeError(`Lockstep sessions: ${rule}.`);
}

export function positive(name: string, value: number): number {
  demand(`${name} must be a positive number`, Number.isFinite(value) && value > 0);
  return value;
}

function whole(name: string, value: number): number {
  demand(`${name} must be a whole number above 0`, Number.isInteger(value) && value > 0);
  return value;
}

/** What Node's timers can wait for, in ms: longer ones end at once. */
const longestTimerMs = 2 ** 31 - 1;

function timer(name: string, value: number): number {
  demand(`${name} must be at most ${longestTimerMs} ms`, value <= longestTimerMs);
  return positive(name, value);
}

function pointer(path: string): string {
  demand(`${JSON.stringify(path)} is not a JSON Pointer: it must start with "/"`, path.startsWith("/"));
  return path;
}
