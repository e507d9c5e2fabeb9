import { channel } from "node:diagnostics_channel";
import type { LossReason } from "./events.ts";

/** What has happened to a membership since it began. */
export interface NearCounts {
  /** How often it has joined. */
  readonly joins: number;
  /** How often each reason has ended a joining. */
  readonly losses: Readonly<Record<LossReason, number>>;
  /** Attempts to join that failed. */
  readonly failedJoins: number;
  /** Renewals that gave a lease. */
  readonly renewals: number;
  /** Revocations of this server's own writes. */
  readonly revocations: number;
  /** Of these, those that had to wait for a silent member until its lease had lapsed. */
  readonly stalls: number;
  /** Of these, those that were begun again, since the joining was over. */
  readonly superseded: number;
  /** Of these, those whose time was over before all had answered. */
  readonly timedOut: number;
  /** Revocations of other servers that were applied here. */
  readonly applied: number;
  /** How often one was missing, and everything was dropped. */
  readonly gaps: number;
  /** Silent members that this server has removed. */
  readonly removedMembers: number;
  /** What the revocations of this server's writes have taken, all answers included. */
  readonly revocationMs: { readonly count: number; readonly mean: number; readonly max: number };
}

type Counted = Exclude<keyof NearCounts, "losses" | "revocationMs">;

/** The name of the diagnostics channel (`node:diagnostics_channel`) on which each {@link RevocationTrip} is published. */
export const revocationChannel = "lockstep:near:revocation";

/** What is published there: one revocation of this server's own that was done. */
export interface RevocationTrip {
  /** The group's name. */
  readonly group: string;
  /** How long it took, all answers included, in ms. */
  readonly durationMs: number;
}

export class Counts {
  readonly #group: string;
  readonly #counts: Record<Counted, number> = {
    joins: 0,
    failedJoins: 0,
    renewals: 0,
    revocations: 0,
    stalls: 0,
    superseded: 0,
    timedOut: 0,
    applied: 0,
    gaps: 0,
    removedMembers: 0,
  };
  readonly #losses: Record<LossReason, number> = { connection: 0, unanswered: 0, removed: 0, moved: 0 };
  readonly #revocations = { count: 0, totalMs: 0, max: 0 };
  readonly #channel = channel(revocationChannel);

  constructor(group: string) {
    this.#group = group;
  }

  add(what: Counted): void {
    this.#counts[what] += 1;
  }

  lost(reason: LossReason): void {
    this.#losses[reason] += 1;
  }

  revoked(durationMs: number): void {
    const all = this.#revocations;
    all.count += 1;
    all.totalMs += durationMs;
    all.max = Math.max(all.max, durationMs);
    if (this.#channel.hasSubscribers)
      this.#channel.publish({ group: this.#group, durationMs } satisfies RevocationTrip);
  }

  counts(): NearCounts {
    const { count, totalMs, max } = this.#revocations;
    return {
      ...this.#counts,
      losses: { ...this.#losses },
      revocationMs: { count, mean: count === 0 ? 0 : totalMs / count, max },
    };
  }
}
