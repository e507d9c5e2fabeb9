import type { RedisClient } from "@lockstep/redis-kit";
import type { Serializer } from "./codec.ts";
import type { SessionEvent } from "./events.ts";
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
  /** Told of each {@link SessionEvent}, once, as it happens. What it throws becomes a process warning. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
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
  readonly maxBytes: number;
  readonly rejectConflicts: boolean;
  readonly mergeRules: MergeRules;
  readonly serializer: Serializer;
  readonly onEvent: ((event: SessionEvent) => void) | undefined;
}

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
  return {
    client,
    prefix,
    ids,
    idleMs,
    absoluteMs: options.absoluteMs === undefined ? undefined : positive("absoluteMs", options.absoluteMs),
    commandDeadlineMs: positive("commandDeadlineMs", options.commandDeadlineMs ?? 500),
    commitDeadlineMs: positive("commitDeadlineMs", options.commitDeadlineMs ?? 3_500),
    maxBytes: positive("maxBytes", options.maxBytes ?? 65_536),
    rejectConflicts: conflict === "reject",
    mergeRules: {
      atomicPaths: new Set((options.atomicPaths ?? []).map(pointer)),
      resolvers: new Map(Object.entries(options.resolve ?? {}).map(([path, resolver]) => [pointer(path), resolver])),
    },
    serializer: options.serializer ?? JSON,
    onEvent: options.onEvent,
  };
}

function demand(rule: string, kept: boolean): void {
  if (!kept) throw new TypeError(`Lockstep sessions: ${rule}.`);
}

function positive(name: string, value: number): number {
  demand(`${name} must be a positive number`, Number.isFinite(value) && value > 0);
  return value;
}

function pointer(path: string): string {
  demand(`${JSON.stringify(path)} is not a JSON Pointer: it must start with "/"`, path.startsWith("/"));
  return path;
}
