import { randomBytes } from "node:crypto";
import { type Joining, type Revoked, withDeadline } from "@lockstep/redis-kit";
import type { Counts } from "./counts.ts";
import { NearError, nearErrorOf } from "./errors.ts";
import { type LossReason, tell } from "./events.ts";
import type { Holders } from "./holders.ts";
import { Inbox } from "./inbox.ts";
import type { GroupKeys } from "./keys.ts";
import type { Lease } from "./lease.ts";
import { Link } from "./link.ts";
import { type RevocationMessage, readAnswer, readRevocation, writeAnswer } from "./messages.ts";
import type { ResolvedJoinOptions } from "./options.ts";
import { Peers, type Row } from "./peers.ts";
import { Revocations } from "./revocations.ts";
import { Settling } from "./settling.ts";

/** How many renewals there are in the time of a lease, if Redis answers at once. */
const renewalsInLease = 3;

/** How long to wait before the next attempt to join, after the first that failed, and at most. */
const firstPauseMs = 50;
const longestPauseMs = 1_000;

/** How many revocations are remembered that come while the reply to the joining is on its way: more look like a gap. */
const maxEarly = 100_000;

/** One joining, from the reply to `join.lua` on. */
interface Joined extends Joining {
  readonly link: Link;
  readonly inbox: Inbox;
  readonly peers: Peers;
  readonly revocations: Revocations;
  /** Who is to be answered at the end of this turn of the event loop. */
  readonly answers: Set<string>;
  renewals: number;
}

/** A server's membership: it joins, renews its lease, applies what the others revoke, and joins again when that has ended. */
export class Membership {
  readonly #options: ResolvedJoinOptions;
  readonly #keys: GroupKeys;
  readonly #lease: Lease;
  readonly #holders: Holders;
  readonly #counts: Counts;
  readonly #settling: Settling;
  #joined: Joined | undefined;
  #attempt: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #error: NearError | undefined;
  /** Of the last joining: its row may still be there. */
  #lastNonce = "";
  #closed: Promise<void> | undefined;

  constructor(
    options: ResolvedJoinOptions,
    parts: { keys: GroupKeys; lease: Lease; holders: Holders; counts: Counts },
  ) {
    this.#options = options;
    this.#keys = parts.keys;
    this.#lease = parts.lease;
    this.#holders = parts.holders;
    this.#counts = parts.counts;
    this.#settling = new Settling(options.leaseMs);
  }

  /** The first attempt to join. Later ones follow by themselves. */
  async start(): Promise<void> {
    await this.#tryToJoin();
  }

  get current(): Joining | undefined {
    return this.#joined;
  }

  /** The members, as they were last seen from here. */
  get rows(): readonly Row[] {
    return this.#joined?.peers.rows ?? [];
  }

  /** Up to which number revocations were applied. */
  get applied(): number | undefined {
    return this.#joined?.inbox.applied;
  }

  /** Why the last attempt to join failed, as long as none has succeeded since. */
  get error(): NearError | undefined {
    return this.#error;
  }

  /** @throws {@link NearError} `UNAVAILABLE`, or why this server can't join */
  async joining(withinMs: number): Promise<Joining> {
    if (this.#joined === undefined && !this.#isClosed) await this.#attempted(withinMs);
    if (this.#joined !== undefined) return this.#joined;
    throw new NearError("UNAVAILABLE", `This server is in no group now: ${this.#whyNot()}`);
  }

  /** @throws {@link NearError} `UNAVAILABLE` */
  async #attempted(withinMs: number): Promise<void> {
    const lateError = () => new NearError("UNAVAILABLE", "This server has not joined the group yet.");
    const attempt = this.#attempt ?? Promise.resolve();
    await withDeadline(attempt, { deadlineMs: withinMs, lateError, onLate: () => undefined });
  }

  /** @throws {@link NearError} `UNAVAILABLE`, `OVERLOADED` */
  async revoke(joining: Joining, what: Revoked, withinMs: number): Promise<"revoked" | "superseded"> {
    const joined = this.#joined;
    if (joined?.nonce !== joining.nonce) return "superseded";
    const outcome = await joined.revocations.revoke(what, withinMs);
    // Nobody answers for this server: the text in its own inbox may come behind the reply.
    if (outcome === "revoked") this.#holders.drop(what);
    return outcome;
  }

  /** Leaves: nothing is served any more when this has returned, and no write waits for this server. */
  close(): Promise<void> {
    this.#closed ??= this.#leave();
    return this.#closed;
  }

  async #leave(): Promise<void> {
    clearTimeout(this.#timer);
    const joined = this.#joined;
    this.#end();
    this.#holders.empty();
    // The others notice a lease later.
    await joined?.link.scripts.leave(joined.nonce).catch(() => undefined);
    joined?.link.close();
    await this.#attempt;
  }

  get #isClosed(): boolean {
    return this.#closed !== undefined;
  }

  #whyNot(): string {
    return this.#isClosed ? "it has left." : (this.#error?.message ?? "it has just lost it.");
  }

  /** Never fails. */
  #tryToJoin(): Promise<void> {
    this.#attempt = this.#join()
      .then(
        () => {
          this.#failures = 0;
          this.#error = undefined;
        },
        (error: unknown) => {
          this.#failed(nearErrorOf(error));
        },
      )
      .finally(() => {
        this.#attempt = undefined;
      });
    return this.#attempt;
  }

  #failed(error: NearError): void {
    if (this.#isClosed) return;
    this.#counts.add("failedJoins");
    if (this.#error?.message !== error.message) tell(this.#options.onEvent, { type: "join-failed", error });
    this.#error = error;
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = setTimeout(() => void this.#tryToJoin(), pauseMs);
  }

  async #join(): Promise<void> {
    const { client, leaseMs, copies, label } = this.#options;
    const nonce = randomBytes(12).toString("base64url");
    let joined: Joined | undefined;
    const early: RevocationMessage[] = [];
    const listener = {
      onRevocation: (text: string) => {
        const message = readRevocation(text);
        if (message === undefined) return;
        if (joined) this.#receive(joined, message);
        else if (early.length < maxEarly) early.push(message);
      },
      onAnswer: (text: string) => {
        const answer = readAnswer(text);
        if (answer !== undefined) joined?.revocations.onAnswer(answer);
      },
      onEnd: (reason: LossReason) => {
        if (joined) this.#lose(joined, reason);
      },
    };
    const link = await Link.open(client, { keys: this.#keys, nonce, leaseMs, listener });
    try {
      const reply = await link.scripts.join({ nonce, before: this.#lastNonce, leaseMs, copies, label });
      if (this.#isClosed) {
        // Its row is there by now, and others would wait for it.
        await link.scripts.leave(nonce);
        throw new NearError("UNAVAILABLE", "It has left.");
      }
      joined = this.#begin(link, { nonce, ...reply }, early);
    } catch (error) {
      link.close();
      throw error;
    }
    await this.#renew(joined);
    // Else one that ends at once, again and again, would be begun anew without a pause.
    if (this.#joined !== joined) throw new NearError("UNAVAILABLE", "The joining was over before its first renewal.");
  }

  /** In one step, from the reply on: whatever is read from here on is revoked by what comes from here on. */
  #begin(
    link: Link,
    { nonce, generation, sent, isSettled }: Joining & { sent: number; isSettled: boolean },
    early: readonly RevocationMessage[],
  ): Joined {
    this.#settling.note(generation, isSettled);
    // C5: what is there was read by who did not hear of the revocations.
    this.#holders.empty();
    const own = early.filter((message) => message.generation === generation);
    const peers = new Peers(this.#options.leaseMs);
    const joined: Joined = {
      ...{ nonce, generation, link, peers, renewals: 0 },
      inbox: new Inbox(own.reduce((applied, { number }) => Math.max(applied, number), sent)),
      answers: new Set(),
      revocations: new Revocations({
        ...{ nonce, generation, peers, scripts: link.scripts, settling: this.#settling, counts: this.#counts },
        leaseMs: this.#options.leaseMs,
        onOver: () => {
          this.#lose(joined, "removed");
        },
        onRemoved: (label) => {
          tell(this.#options.onEvent, { type: "member-removed", label });
        },
      }),
    };
    this.#joined = joined;
    this.#lastNonce = nonce;
    for (const { writer } of own) this.#answer(joined, writer);
    this.#counts.add("joins");
    tell(this.#options.onEvent, { type: "joined" });
    return joined;
  }

  /** C5, C7: what another server, or this one, has revoked. */
  #receive(joined: Joined, { generation, number, writer, what }: RevocationMessage): void {
    if (generation !== joined.generation || this.#joined !== joined) return;
    if (joined.inbox.receive(number) === "gap") this.#dropAll();
    else this.#holders.drop(what);
    if (writer === joined.nonce) return;
    this.#counts.add("applied");
    this.#answer(joined, writer);
  }

  /** At the end of what has come in one piece: one answer says all that was applied. */
  #answer(joined: Joined, writer: string): void {
    // Who keeps no copies is not waited for.
    if (!this.#options.copies) return;
    if (joined.answers.size === 0) queueMicrotask(() => this.#sendAnswers(joined));
    joined.answers.add(writer);
  }

  #sendAnswers(joined: Joined): void {
    const { generation, nonce, inbox, link, answers } = joined;
    const text = writeAnswer({ generation, nonce, applied: inbox.applied });
    for (const writer of answers) link.answer(writer, text);
    answers.clear();
  }

  #dropAll(): void {
    this.#holders.empty();
    this.#counts.add("gaps");
    tell(this.#options.onEvent, { type: "gap" });
  }

  async #renew(joined: Joined): Promise<void> {
    const sent = { at: performance.now(), wallAt: Date.now() };
    const { generation, nonce, inbox, link } = joined;
    const isSettled = this.#settling.isSettled(generation);
    // Who has died is found within two leases, so that the next write does not have to wait for it.
    const lists = joined.renewals % renewalsInLease === 0;
    joined.renewals += 1;
    const renewal = { generation, nonce, applied: inbox.applied, isSettled, lists };
    const reply = await link.scripts.renew(renewal).catch(() => undefined);
    if (this.#joined !== joined) return;
    if (reply === undefined || reply === "over") {
      this.#lose(joined, reply === "over" ? "removed" : "unanswered");
      return;
    }
    this.#settling.note(generation, reply.isSettled);
    if (reply.rows) joined.revocations.onListed(reply.rows, reply.sent);
    if (inbox.catchUp(reply.sent)) {
      // C7: no lease for who has missed something; the next renewal tells the writers that it is dropped.
      this.#dropAll();
      this.#renewIn(joined, 0);
      return;
    }
    this.#lease.grant(sent);
    this.#counts.add("renewals");
    this.#renewIn(joined, this.#options.leaseMs / renewalsInLease - (performance.now() - sent.at));
  }

  #renewIn(joined: Joined, delayMs: number): void {
    this.#timer = setTimeout(() => void this.#renew(joined), Math.max(0, delayMs));
  }

  #lose(joined: Joined, reason: LossReason): void {
    if (this.#joined !== joined) return;
    this.#counts.lost(reason);
    this.#end();
    joined.link.close();
    tell(this.#options.onEvent, { type: "lost", reason });
    // An attempt whose first renewal this was fails by itself.
    if (this.#attempt === undefined) void this.#tryToJoin();
  }

  /** The lease ends with the joining, at once. */
  #end(): void {
    const joined = this.#joined;
    this.#joined = undefined;
    this.#lease.end();
    clearTimeout(this.#timer);
    joined?.revocations.end();
  }
}
