/** Where a primary was, when it was asked. */
interface Sample {
  /** When the question was sent, on the clock of `performance.now()`. */
  readonly sentAt: number;
  /** How far it was, in bytes of its history. */
  readonly offset: number;
}

/** How many samples of one history are kept, and for how many histories: one for each primary of a Cluster, and some that are over. */
const maxSamples = 64;
const maxHistories = 1_024;

/** The longest lag that is measured, in ms. */
export const longestLagMs = 60_000;

/**
 * How far replicas are behind, without any server's clock: whatever was acknowledged before a primary was asked where it is, a
 * replica has that is there, or further on, in the same history of writes.
 */
export class ReplicaLag {
  /** By replication id: what a primary keeps from its promotion on, and its replicas take over. The oldest sample comes first. */
  readonly #samples = new Map<string, Sample[]>();
  #newestSentAt = -Infinity;

  /** When the newest sample was sent. */
  get newestSentAt(): number {
    return this.#newestSentAt;
  }

  note(replicationId: string, sample: Sample): void {
    this.#newestSentAt = Math.max(this.#newestSentAt, sample.sentAt);
    const kept = (this.#samples.get(replicationId) ?? []).filter(({ sentAt }) => sentAt > sample.sentAt - longestLagMs);
    // Every other one goes, so that a lag is still known, if less exactly, where somebody asks very often.
    const thinned = kept.length < maxSamples ? kept : kept.filter((_, index) => index % 2 === 1);
    // Behind the others: the history that was met least lately goes first.
    this.#samples.delete(replicationId);
    const [oldest] = this.#samples.keys();
    if (this.#samples.size >= maxHistories && oldest !== undefined) this.#samples.delete(oldest);
    this.#samples.set(replicationId, [...thinned, sample]);
  }

  /**
   * By how much the replica may be behind at the most, in ms: `isCovered`; or at the least, if it lacks something that every
   * sample has. `undefined`: nothing is known of its history.
   */
  of(
    replicationId: string,
    offset: number,
    now: number,
  ): { readonly ms: number; readonly isCovered: boolean } | undefined {
    const samples = this.#samples.get(replicationId);
    const [oldest] = samples ?? [];
    if (samples === undefined || oldest === undefined) return undefined;
    const covered = samples.findLast((sample) => sample.offset <= offset);
    return { ms: now - (covered ?? oldest).sentAt, isCovered: covered !== undefined };
  }
}
