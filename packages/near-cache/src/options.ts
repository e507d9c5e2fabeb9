import { hostname } from "node:os";
import { type RedisClient, keyPrefixOf } from "@lockstep/redis-kit";
import type { NearEvent } from "./events.ts";

/** Options of {@link joinNearCache}. */
export interface JoinOptions {
  /**
   * An ioredis client (6 or newer): one server, Sentinel or Cluster. The caches and session engines of this server that keep near copies in
   * its Redis are given the same. The group has a connection of its own, made as this one's are, in RESP3.
   */
  readonly client: RedisClient;
  /** The group's name: letters, digits and `_ . : -`. All servers that write the same entries, or sessions, join the same. */
  readonly group: string;
  /**
   * Whether this server keeps copies; default `true`. `false`: it only makes the others drop theirs when it writes. A running deployment takes
   * two rollouts: first every server joins with `false`, then with `true`.
   */
  readonly copies?: boolean | undefined;
  /**
   * How long a lease is, in ms; default 1,000, from 100 to 60,000. All members must have the same. A write waits so long, once, for a server that
   * died or hangs; a server that can't reach Redis answers from its memory for no longer.
   */
  readonly leaseMs?: number | undefined;
  /** What this server is called in {@link NearCache.status}, of at most 64 characters; default: host name and process id. */
  readonly label?: string | undefined;
  /** Told of what becomes of the membership. What it throws becomes a process warning. */
  readonly onEvent?: ((event: NearEvent) => void) | undefined;
}

/** Options as they are used: checked, and none missing. */
export interface ResolvedJoinOptions {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly group: string;
  readonly copies: boolean;
  readonly leaseMs: number;
  readonly label: string;
  readonly onEvent: ((event: NearEvent) => void) | undefined;
}

/** How far two clocks may drift apart in a second (ρ): generous for any crystal. */
export const clockDrift = 0.01;

const maxLabelLength = 64;

/** @throws TypeError naming the first option that can't be meant */
export function resolveJoinOptions(options: JoinOptions): ResolvedJoinOptions {
  const { client, group, copies = true, leaseMs = 1_000, label = `${hostname()}:${process.pid}`, onEvent } = options;
  // Whoever calls from JavaScript, or from a `.env`, is not held back by the types.
  demand(
    "client must be an ioredis client",
    typeof (client as Partial<RedisClient> | undefined)?.duplicate === "function",
  );
  demand(
    "group must be one or more letters, digits, or _ . : -",
    typeof group === "string" && /^[\w.:-]+$/.test(group),
  );
  demand("copies must be true or false", typeof copies === "boolean");
  demand("leaseMs must be a whole number from 100 to 60,000", isWholeWithin(leaseMs, 100, 60_000));
  demand(
    `label must be a text of 1 to ${maxLabelLength} characters`,
    typeof label === "string" && label !== "" && label.length <= maxLabelLength && !/\p{Surrogate}/u.test(label),
  );
  return { client, keyPrefix: keyPrefixOf(client), group, copies, leaseMs, label, onEvent };
}

function isWholeWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function demand(rule: string, kept: boolean): void {
  if (!kept) throw new TypeError(`Lockstep near copies: ${rule}.`);
}
