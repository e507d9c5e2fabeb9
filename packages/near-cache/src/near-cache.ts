import { Commands, type CopyHolder, type Joining, type Near, type Revoked, isCluster } from "@lockstep/redis-kit";
import { Claims } from "./claims.ts";
import { Counts, type NearCounts } from "./counts.ts";
import type { NearError } from "./errors.ts";
import { Holders } from "./holders.ts";
import { createGroupKeys } from "./keys.ts";
import { Lease } from "./lease.ts";
import { Membership } from "./membership.ts";
import { type JoinOptions, type ResolvedJoinOptions, clockDrift, resolveJoinOptions } from "./options.ts";

/** A member of the group, as this server has last seen it: up to a lease ago. */
export interface NearMember {
  /** What it calls itself. */
  readonly label: string;
  /** Whether it is this server. */
  readonly isThis: boolean;
  /** Whether it keeps copies. */
  readonly copies: boolean;
  /** How often it has renewed its lease in this joining. */
  readonly renewals: number;
  /** How many revocations of its generation it said at its last renewal that it has applied. */
  readonly applied: number;
}

/** A membership at this moment. */
export interface NearStatus {
  /** `joining`: not for now, and it tries again by itself. */
  readonly state: "joined" | "joining" | "left";
  /** Which group from its first member on; `undefined` while it is in none. */
  readonly generation: string | undefined;
  /** What is left of the lease, in ms; 0: no copy is served. */
  readonly leaseLeftMs: number;
  /** Copies in this process, of all caches and session engines with this membership. */
  readonly copies: { readonly count: number; readonly bytes: number };
  /** All members. */
  readonly members: readonly NearMember[];
  /** Why it could not join at the last attempt. */
  readonly error: NearError | undefined;
}

/** A server's membership in a group of near copies. */
export interface NearCache extends Near {
  /** What it is at this moment. */
  status(): NearStatus;
  /** What has happened to it since it began. */
  counts(): NearCounts;
  /** Leaves the group: nothing is served from memory any more, and no write waits for this server. The client is the caller's to close. */
  close(): Promise<void>;
}

/**
 * Joins a group of servers that keep near copies from one Redis. Give what it returns to the caches and session engines on the same client.
 *
 * It returns once the first attempt is over. If Redis is not there, this server reads past its memory and joins as soon as it can.
 *
 * @throws TypeError if an option can't be meant
 * @throws {@link NearError} `UNSUPPORTED`, `LEASE_MISMATCH`, `OVERLOADED`
 */
export async function joinNearCache(options: JoinOptions): Promise<NearCache> {
  const near = new Member(resolveJoinOptions(options));
  await near.start();
  return near;
}

/** For who need not know: as long as a bounded copy may live anyway. */
const announceMs = 1_000;

class Member implements NearCache {
  readonly #options: ResolvedJoinOptions;
  readonly #lease: Lease;
  readonly #holders = new Holders();
  readonly #counts: Counts;
  readonly #membership: Membership;
  readonly #claims: Claims;
  readonly stallMs: number;
  #isClosed = false;

  constructor(options: ResolvedJoinOptions) {
    this.#options = options;
    this.#lease = new Lease(options.leaseMs);
    this.#counts = new Counts(options.group);
    this.#membership = new Membership(options, {
      keys: createGroupKeys(options.keyPrefix, options.group),
      lease: this.#lease,
      holders: this.#holders,
      counts: this.#counts,
    });
    this.#claims = new Claims(new Commands(options.client, { deadlineMs: options.leaseMs }), this.group);
    this.stallMs = options.leaseMs * (1 + clockDrift);
  }

  get client() {
    return this.#options.client;
  }

  get group() {
    return this.#options.keyPrefix + this.#options.group;
  }

  get copies() {
    return this.#options.copies;
  }

  async start(): Promise<void> {
    await this.#membership.start();
    const { error } = this.#membership;
    if (error === undefined || error.code === "UNAVAILABLE") return;
    await this.close();
    throw error;
  }

  mayServe(now = performance.now()): boolean {
    return this.#options.copies && this.#lease.isValidAt(now);
  }

  mayKeep(epoch: string): boolean {
    return isCluster(this.#options.client) || this.#membership.current?.generation.startsWith(epoch) === true;
  }

  hold(holder: CopyHolder): () => void {
    return this.#holders.add(holder);
  }

  async joining(withinMs: number): Promise<Joining> {
    return this.#membership.joining(withinMs);
  }

  async revoke(joining: Joining, what: Revoked, withinMs: number): Promise<"revoked" | "superseded"> {
    return this.#membership.revoke(joining, what, withinMs);
  }

  announce(what: Revoked): void {
    const joining = this.#membership.current;
    if (joining) this.#membership.revoke(joining, what, announceMs).catch(() => undefined);
  }

  claim(key: string): () => void {
    return this.#options.copies ? this.#claims.add(key) : () => undefined;
  }

  status(): NearStatus {
    const { current, rows, error } = this.#membership;
    const members = rows.map(({ nonce, ...row }) => ({
      ...{ label: row.label, isThis: nonce === current?.nonce, copies: row.copies },
      ...{ renewals: row.renewals, applied: row.applied },
    }));
    return {
      state: this.#isClosed ? "left" : current ? "joined" : "joining",
      generation: current?.generation,
      leaseLeftMs: this.#lease.leftMs,
      copies: { count: this.#holders.size, bytes: this.#holders.bytes },
      members,
      error,
    };
  }

  counts(): NearCounts {
    return this.#counts.counts();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#claims.close();
    await this.#membership.close();
  }
}
