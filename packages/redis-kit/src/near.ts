import type { Sender } from "./breaker.ts";
import type { RedisClient } from "./client.ts";

/** Something that keeps near copies: told by its group which to drop. Nothing here may throw. */
export interface CopyHolder {
  /** C5: drops the copy of a key, and makes what reads under way bring none. */
  revoke(key: string): unknown;
  /** The same for all keys that start so. */
  revokeAll(start: string): unknown;
  /** The same for all keys. */
  empty(): unknown;
  /** How many copies there are. */
  readonly size: number;
  /** What they take, in bytes. */
  readonly bytes: number;
}

/** One joining of a group, from join to leave, removal or a lost connection: what a write names that began in it. */
export interface Joining {
  /** The group from its first member on: another one after Redis has started, failed over or been emptied. */
  readonly generation: string;
  /** Which joining: never used twice. */
  readonly nonce: string;
}

/** What a write makes all servers drop. */
export type Revoked = { readonly keys: readonly string[] } | { readonly start: string };

/**
 * A server's membership in a group of servers that keep near copies from one Redis (docs/coherence.md): what
 * `@lockstep/near-cache` gives, and what the caches and session engines of the same server are given.
 */
export interface Near {
  /** The client that it was joined with: whose Redis it is. */
  readonly client: RedisClient;
  /**
   * The group's name, behind the client's `keyPrefix`: servers that put different things before their keys are in different groups, also where
   * their caches' or sessions' own names make the keys alike.
   */
  readonly group: string;
  /** Whether this server keeps copies, or only takes part in writes. */
  readonly copies: boolean;
  /** The longest that one silent member holds up a write, in ms: D(1+ρ). */
  readonly stallMs: number;

  /**
   * C1: whether a copy may be served: this server keeps copies and its lease is valid. To be asked at each hit, in the step in which the copy is
   * looked up and given away.
   *
   * @param now a moment of this step, on the clock of `performance.now()`; without it, this moment
   */
  mayServe(now?: number): boolean;

  /**
   * C9: whether a copy may be made of what a primary of this epoch has told. Over a failover the client and the group may be connected to two
   * primaries for a while, and the group of one knows of no write that the other takes. In a Cluster many primaries have the entries.
   *
   * @param epoch the first 16 digits of its replication id
   */
  mayKeep(epoch: string): boolean;

  /** Tells the holder from now on which copies to drop. @returns ends that */
  hold(holder: CopyHolder): () => void;

  /**
   * The present joining, to be taken before a write begins. Waits for one that is under way.
   *
   * @throws Error with a `code` of `"UNAVAILABLE"`: this server is in no group, and can't be for now
   */
  joining(withinMs: number): Promise<Joining>;

  /**
   * C2, C3: returns once no server can serve what is revoked. To be called when a write has begun, and before it takes effect; keys
   * as the holders know them.
   *
   * @returns `superseded`: the joining is over, so nobody knows who was asked: begin again
   * @throws Error with a `code` of `"UNAVAILABLE"`: not known within the time
   */
  revoke(joining: Joining, what: Revoked, withinMs: number): Promise<"revoked" | "superseded">;

  /** The same for who need not know: told to the others, and not waited for. Never fails. */
  announce(what: Revoked): void;

  /**
   * Says in Redis, for as long as this server lives and keeps copies, that near copies of these keys exist: who writes them
   * without being a member is to refuse to start (`claimOf`).
   *
   * @param key where, in that Redis, without the client's `keyPrefix`
   * @returns ends that
   */
  claim(key: string): () => void;
}

/** How a claim is written: the protocol's version, the group, until when it counts on the server's wall clock in ms. */
const claimForm = /^(\d+) (.+) (\d+)$/s;

/** The version of the protocol: servers of two versions share no group. */
export const nearProtocol = 1;

/**
 * Whether near copies of some keys exist, by what members of a group say ({@link Near.claim}).
 *
 * @returns the group, and which version of the protocol it speaks; `undefined`: nobody has said so within the last minute
 * @throws CommandError
 */
export async function claimOf(
  commands: Sender<RedisClient>,
  key: string,
): Promise<{ group: string; version: number } | undefined> {
  const [text, nowMs] = await Promise.all([
    commands.send("a look for near copies", (client) => client.get(key)),
    wallClock(commands),
  ]);
  const [, version, group, until] = claimForm.exec(text ?? "") ?? [];
  return group !== undefined && Number(until) > nowMs ? { group, version: Number(version) } : undefined;
}

/** The text of a claim that counts for so long. */
export async function claimText(commands: Sender<RedisClient>, group: string, forMs: number): Promise<string> {
  return `${nearProtocol} ${group} ${(await wallClock(commands)) + forMs}`;
}

async function wallClock(commands: Sender<RedisClient>): Promise<number> {
  const [seconds] = await commands.send("the time", (client) => client.time());
  return Number(seconds) * 1_000;
}
