import type { Revoked } from "@lockstep/redis-kit";
import type { Counts } from "./counts.ts";
import { NearError, nearErrorOf } from "./errors.ts";
import { type AnswerMessage, writeWhat } from "./messages.ts";
import type { Peers, Row } from "./peers.ts";
import type { GroupScripts } from "./scripts.ts";
import type { Settling } from "./settling.ts";

/** How many writes of one server may wait for the group at a time. */
const maxWrites = 10_000;

/** The part of a lease after which who is silent is looked for: an answer may be lost, and the next renewal says the same. */
const looksInLease = 3;

/** The shortest pause between two looks, in ms: one that fails is not repeated at once. */
const leastPauseMs = 5;

/** One write that waits until all members have dropped their copies. */
interface Wait {
  readonly number: number;
  /** Who has not answered yet. */
  readonly silent: Set<string>;
  readonly settle: (outcome: "revoked" | "superseded" | NearError) => void;
}

/** The joining whose revocations these are. */
export interface RevocationParts {
  readonly generation: string;
  readonly nonce: string;
  readonly scripts: GroupScripts;
  readonly peers: Peers;
  readonly settling: Settling;
  readonly counts: Counts;
  readonly leaseMs: number;
  /** Called when Redis says that the joining is over. */
  readonly onOver: () => void;
  /** Told of a member that was silent for a lease. */
  readonly onRemoved: (label: string) => void;
}

/** The revocations of one joining's writes: sent to all members (C2), and done once each has answered or its lease has lapsed (C3). */
export class Revocations {
  readonly #parts: RevocationParts;
  /** By number. */
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;
  /** Ends the waiting of each write for older leases. */
  readonly #wakes = new Set<() => void>();
  /** Writes that are under way. */
  #writes = 0;
  #isLooking = false;
  #isOver = false;

  constructor(parts: RevocationParts) {
    this.#parts = parts;
  }

  /** @throws {@link NearError} `UNAVAILABLE`, `OVERLOADED` */
  async revoke(what: Revoked, withinMs: number): Promise<"revoked" | "superseded"> {
    if (this.#writes >= maxWrites) throw new NearError("OVERLOADED", "Too many writes wait for the group.");
    const startedAt = performance.now();
    const { counts } = this.#parts;
    counts.add("revocations");
    this.#writes += 1;
    const outcome = await this.#revoke(what, startedAt + withinMs).finally(() => {
      this.#writes -= 1;
    });
    if (outcome === "revoked") counts.revoked(performance.now() - startedAt);
    else counts.add("superseded");
    return outcome;
  }

  /** A member has said what it has applied. */
  onAnswer({ generation, nonce, applied }: AnswerMessage): void {
    if (generation !== this.#parts.generation) return;
    this.#parts.peers.heard(nonce, applied);
    for (const wait of this.#waits) {
      if (wait.number > applied) break;
      this.#answered(wait, nonce);
    }
  }

  /** The whole group, as it was when so many revocations had been sent. */
  onListed(rows: readonly Row[], sent: number): void {
    const { peers } = this.#parts;
    peers.list(rows);
    for (const wait of this.#waits) {
      // Who is absent may have joined between the two, where the replies are taken in another order.
      if (wait.number > sent) continue;
      for (const nonce of wait.silent) {
        if (!peers.isListed(nonce) || peers.appliedBy(nonce) >= wait.number) this.#answered(wait, nonce);
      }
    }
    // Who died since the last write holds up no other.
    if (rows.some(({ nonce }) => nonce !== this.#parts.nonce && peers.lapsedAt(nonce) !== undefined)) void this.#look();
  }

  /** The joining is over: of those that wait nobody knows who was asked. */
  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const wait of this.#waits) wait.settle("superseded");
    for (const wake of this.#wakes) wake();
    // What comes late finds nobody.
    this.#parts.peers.clear();
  }

  async #revoke(what: Revoked, deadline: number): Promise<"revoked" | "superseded"> {
    const { generation, nonce, scripts, settling, onOver } = this.#parts;
    const sent = await scripts
      .revoke({ generation, nonce }, writeWhat(what), deadline - performance.now())
      .catch((error: unknown) => nearErrorOf(error));
    if (this.#isOver) return "superseded";
    if (sent instanceof NearError) throw sent;
    if (sent === "over") {
      onOver();
      return "superseded";
    }
    settling.note(generation, sent.isSettled);
    return this.#whenDone(sent, deadline);
  }

  async #whenDone(
    { number, rows }: { number: number; rows: readonly Row[] },
    deadline: number,
  ): Promise<"revoked" | "superseded"> {
    const { nonce, peers } = this.#parts;
    peers.list(rows);
    const asked = rows.filter((row) => row.copies && row.nonce !== nonce);
    const silent = asked.filter((row) => peers.appliedBy(row.nonce) < number).map((row) => row.nonce);
    const [outcome] = await Promise.all([this.#answers(number, silent, deadline), this.#untilSettled(deadline)]);
    return this.#isOver ? "superseded" : outcome;
  }

  /** C3. */
  #answers(number: number, silent: readonly string[], deadline: number): Promise<"revoked" | "superseded"> {
    if (silent.length === 0) return Promise.resolve("revoked");
    return new Promise((resolve, reject) => {
      const settle = (outcome: "revoked" | "superseded" | NearError) => {
        clearTimeout(timer);
        this.#waits.delete(wait);
        if (outcome instanceof NearError) reject(outcome);
        else resolve(outcome);
      };
      const wait = { number, silent: new Set(silent), settle };
      const timer = setTimeout(
        () => {
          this.#parts.counts.add("timedOut");
          settle(new NearError("UNAVAILABLE", "A member of the group has not dropped its copy in time."));
        },
        Math.max(0, deadline - performance.now()),
      );
      this.#waits.add(wait);
      this.#lookSoon();
    });
  }

  #answered(wait: Wait, nonce: string): void {
    if (wait.silent.delete(nonce) && wait.silent.size === 0) wait.settle("revoked");
  }

  /** C9: no write of a new generation takes effect while leases of an older one may be valid. */
  async #untilSettled(deadline: number): Promise<void> {
    const { generation, settling, counts } = this.#parts;
    const leftMs = settling.leftMs(generation);
    if (leftMs <= 0) return;
    const timeMs = deadline - performance.now();
    if (leftMs > timeMs) {
      counts.add("timedOut");
      throw new NearError(
        "UNAVAILABLE",
        "The group has just begun: leases of an older one may be valid for longer than there is time.",
      );
    }
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.ceil(leftMs));
      this.#wakes.add(wake);
    });
  }

  #lookSoon(): void {
    if (this.#timer !== undefined || this.#waits.size === 0 || this.#isOver) return;
    const { peers, leaseMs } = this.#parts;
    const lapseMs = Math.min(...this.#silent().map((nonce) => peers.lapsesInMs(nonce)));
    const delayMs = Math.min(leaseMs / looksInLease, Math.max(leastPauseMs, Math.ceil(lapseMs)));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#look().finally(() => {
        this.#lookSoon();
      });
    }, delayMs);
  }

  #silent(): string[] {
    return [...new Set([...this.#waits].flatMap(({ silent }) => [...silent]))];
  }

  /** Asks after those who are waited for, and removes whoever has been silent for a lease. */
  async #look(): Promise<void> {
    const { generation, nonce, scripts, peers, onOver } = this.#parts;
    if (this.#isLooking || this.#isOver) return;
    const lapsed = peers.rows.filter((row) => row.nonce !== nonce && peers.lapsedAt(row.nonce) !== undefined);
    const nonces = [...new Set([...this.#silent(), ...lapsed.map((row) => row.nonce)])];
    if (nonces.length === 0) return;
    const members = nonces.map((each) => ({ nonce: each, lapsedAt: peers.lapsedAt(each) }));
    this.#isLooking = true;
    try {
      const rows = await scripts.watch(generation, members);
      if (rows === "over") onOver();
      else members.forEach(({ nonce: each, lapsedAt }, index) => this.#seen(each, rows[index], lapsedAt !== undefined));
    } catch {
      // Asked again, until the write's time is over or the connection is found to be dead.
    } finally {
      this.#isLooking = false;
    }
  }

  #seen(nonce: string, row: Row | undefined, wasLapsed: boolean): void {
    const { peers, counts, onRemoved } = this.#parts;
    const label = peers.labelOf(nonce);
    if (row === undefined) peers.remove(nonce);
    else peers.see(row);
    if (row === undefined && wasLapsed) {
      counts.add("removedMembers");
      onRemoved(label);
    }
    for (const wait of this.#waits) {
      if (!wait.silent.has(nonce)) continue;
      if (row === undefined && wasLapsed) counts.add("stalls");
      if (row === undefined || row.applied >= wait.number) this.#answered(wait, nonce);
    }
  }
}
