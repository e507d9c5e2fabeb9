import type { OnEvent } from "../events.ts";
import type { EntryKeys, Keys } from "../keys.ts";

/** What all drivers are told of the cache. */
export interface DriverOptions {
  readonly name: string;
  readonly deadlineMs: number;
  readonly onEvent: OnEvent;
}

/** How the entries of one collection are kept: the same in each call for it. */
export interface EntryRules {
  /** How long a write may be pending, in ms. */
  readonly pendingMs: number;
  /** How long who has been given a fill token may take, in ms. */
  readonly tokenLifeMs: number;
  /** An entry that was written under another revision reads as missing. */
  readonly revision: number;
  /** How long an entry is kept when its life is over, in ms: to be served while it is refreshed, or when that fails. */
  readonly extraMs: number;
  /** Whether a hit is to tell how much of its life is left. */
  readonly asksLife: boolean;
}

/** What a read found: the text of an entry, a token to fill it with, or why there is neither. */
export type ReadReply =
  | {
      readonly outcome: "hit";
      readonly text: string;
      /** How much of its life is left, in ms, where the rules ask for it. */
      readonly leftMs?: number;
      /** C9: of the Redis that has told that. */
      readonly epoch?: string;
    }
  | {
      /** Its life is over, and `extraMs` are not. */
      readonly outcome: "expired";
      readonly text: string;
      /** For how long it has been over, in ms. */
      readonly overdueMs: number;
      /** Whether this caller is to refresh it, another does, or nobody for now: the source has just failed. */
      readonly refresh: { readonly token: string } | "running" | "failed";
    }
  | { readonly outcome: "fill"; readonly token: string }
  /**
   * - `unkept`: it was loaded a moment ago, and is not to be kept: each loads it for themselves;
   * - `busy`: another loads it;
   * - `pending`: a write is under way;
   * - `young`: the server has just started, and may have lost the marks of writes that are;
   * - `full`: it takes no writes.
   */
  | { readonly outcome: "unkept" | "busy" | "pending" | "young" | "full" };

/** The token that a reply gives, if it gives one. */
export function tokenIn(reply: ReadReply | undefined): string | undefined {
  if (reply?.outcome === "fill") return reply.token;
  return reply?.outcome === "expired" && typeof reply.refresh === "object" ? reply.refresh.token : undefined;
}

/** After so many failures in a row a server is left alone for so long. */
export const breaker = { failures: 5, breakMs: 1_000 };

/** How many entries one command, or script, handles: it holds up everybody else's. */
export const maxBatch = 128;

/** For how long nobody tries again to refresh what the source has just failed to give, in ms. */
export const failurePauseMs = 1_000;

/** For how long an entry is remembered that is not to be kept, in ms: those who ask for it would else wait for one another in turns. */
export const unkeptMs = 1_000;

/** What came of a load that a token was given for. */
export interface Fill {
  /** The entry's key. */
  readonly key: string;
  readonly token: string;
  /**
   * - a text: stored, for `lifeMs` and the rules' `extraMs`;
   * - `unkept`: it was loaded and is not to be kept; an expired entry goes as well, and for {@link unkeptMs} nobody waits for another's load;
   * - `unused`: the token is given back; an expired entry stays, to be refreshed by the next reader;
   * - `failed`: so it is, but nobody refreshes an expired entry for `pauseMs`.
   */
  readonly result:
    | { readonly text: string; readonly lifeMs: number }
    | "unkept"
    | "unused"
    | { readonly outcome: "failed"; readonly pauseMs: number };
}

/**
 * What became of a fill. Refused: a write has begun since, or the token had lapsed. Too large: for the server; nothing is kept, and the
 * token is given back.
 */
export type FillOutcome = "stored" | "released" | "refused" | "too-large";

/** A fill, and what became of it. */
export type FillResult =
  | { readonly fill: Fill; readonly outcome: FillOutcome }
  | { readonly fill: Fill; readonly outcome: "failed"; readonly error: unknown };

/** Nobody knows what became of them: their server could not be asked. */
export function failedFills(fills: readonly Fill[], error: unknown): FillResult[] {
  return fills.map((fill) => ({ fill, outcome: "failed", error }));
}

/** A write between its begin and its end. */
export interface PendingWrite {
  readonly keys: EntryKeys;
  readonly token: string;
  /** What the driver must know at the end: for Redis, the epoch of the begin. */
  readonly epoch: string;
}

/**
 * The shared tier: entries with their fill tokens, and marks of pending writes. Every operation is bounded in time, and all
 * of them keep C4 (nothing is served or filled while a write is pending) and C5 (a fill is stored only with its token, once).
 *
 * Each method but `close` fails with a CommandError where the server can't be asked.
 */
export interface Driver {
  /** Looks whether the server can be used, before anybody asks for an entry. @throws CacheError `UNSAFE_REDIS`, `UNSUPPORTED` */
  ready(): Promise<void>;

  /** Reads entries by as few trips as possible, all sent at once. Each group may fail by itself. */
  read<T extends { readonly keys: EntryKeys }>(
    items: readonly T[],
    rules: EntryRules,
  ): { readonly items: readonly T[]; readonly replies: Promise<readonly ReadReply[]> }[];

  /** Stores what was loaded, or gives tokens back. Each group may fail by itself, and is `failed` then. */
  store(fills: readonly Fill[], rules: EntryRules): Promise<readonly FillResult[]>;

  /**
   * A write begins: its entry goes, and none is stored or filled until it has ended or lapsed.
   *
   * @returns `crowded`: too many writes of this entry are pending, and this one was not begun
   * @throws CacheError `UNSAFE_REDIS`
   */
  begin(keys: EntryKeys, rules: EntryRules): Promise<PendingWrite | "crowded">;

  /**
   * A write ends; without a value its entry is left missing.
   *
   * @returns `dropped`: nothing was stored, because it was not certain to be the last write; `lapsed`: its mark was gone;
   * `too-large`: nothing was stored, because the server takes no item of this size
   */
  end(
    pending: PendingWrite,
    value: { readonly text: string; readonly lifeMs: number } | undefined,
    rules: EntryRules,
  ): Promise<"stored" | "dropped" | "lapsed" | "too-large">;

  /** Drops entries whose source has changed behind the cache's back. */
  drop(keys: readonly EntryKeys[]): Promise<void>;

  /** Drops all entries of a collection. @throws CacheError `UNSUPPORTED` */
  dropAll(collection: Keys): Promise<void>;

  /** Deletes what writers that died have left, in batches with a pause after each. */
  sweep(pause: () => Promise<void>): Promise<void>;

  /** Ends what runs in the background. */
  close(): void;
}
