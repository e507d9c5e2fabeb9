import { randomBytes } from "node:crypto";
import { type CircuitBreaker, CommandError, type Joining, type Near } from "@lockstep/redis-kit";
import { SessionStoreError, fromCommandError } from "./errors.ts";
import type { NearRecords } from "./near-records.ts";
import { type ResolvedOptions, pendingMs } from "./options.ts";
import { type BegunWrite, Superseded, beginWrite, leaveMark } from "./scripts.ts";

/** How many writes of one record may be pending: one of each server, and those that have failed in the last seconds. */
const maxPending = 1_000;

/** How a write is made. */
export interface WriteOrder {
  /** How long it may take in all, in ms; never longer than the commit deadline. */
  readonly withinMs: number;
  /** Whether it ends the session. */
  readonly ends?: boolean;
}

/**
 * Writes of records that servers may have near copies of (docs/coherence.md): begun, so that no copy is made any more (C4); revoked, so that
 * none is left (C2, C3); and finished, if it is certain that nothing has come in between.
 */
export class PendingWrites {
  readonly #near: Near;
  readonly #copies: NearRecords;
  readonly #commands: CircuitBreaker;
  readonly #markOf: (key: string) => string;
  readonly #commitDeadlineMs: number;
  readonly #pendingMs: number;
  // Random per engine and counted within it: unique without asking for randomness at each write.
  readonly #writer = randomBytes(9).toString("base64url");
  #writes = 0;

  constructor(
    near: Near,
    options: ResolvedOptions,
    parts: { copies: NearRecords; commands: CircuitBreaker; markOf: (key: string) => string },
  ) {
    this.#near = near;
    this.#copies = parts.copies;
    this.#commands = parts.commands;
    this.#markOf = parts.markOf;
    this.#commitDeadlineMs = options.commitDeadlineMs;
    this.#pendingMs = pendingMs(options);
  }

  /**
   * Writes a record.
   *
   * @param finish sends what writes it
   * @returns what that gives
   * @throws {@link SessionStoreError} `UNAVAILABLE`, `OUTCOME_UNKNOWN`
   * @throws what `finish` throws
   */
  async write<T>(
    key: string,
    order: WriteOrder,
    finish: (withinMs: number, begun: BegunWrite) => Promise<T>,
  ): Promise<T> {
    const deadline = performance.now() + Math.min(order.withinMs, this.#commitDeadlineMs);
    let wasSent = false;
    for (;;) {
      const begun = await this.#begin(key, order, deadline).catch((error: unknown) => {
        // The client may have sent a finish twice, and heard of the second alone.
        throw wasSent && error instanceof SessionStoreError
          ? new SessionStoreError("OUTCOME_UNKNOWN", error.message, { cause: error })
          : error;
      });
      if (begun === "superseded") continue;
      wasSent = true;
      try {
        return await finish(deadline - performance.now(), begun);
      } catch (error) {
        // Of what fails else nobody knows whether it will still be done: its token lapses.
        if (!(error instanceof Superseded)) throw error;
      }
    }
  }

  /** @returns `superseded`: the group has begun anew meanwhile, and nobody knows who was asked (C9) */
  async #begin(key: string, { ends = false }: WriteOrder, deadline: number): Promise<BegunWrite | "superseded"> {
    const joining = await this.#joining(deadline);
    const mark = this.#markOf(key);
    const token = `${this.#writer}-${(this.#writes += 1).toString(36)}`;
    const { epoch, outcome } = await this.#mark({ mark, token }, ends, deadline);
    if (outcome === "crowded") {
      throw new SessionStoreError("UNAVAILABLE", "Too many writes of the session are pending: this one was not begun.");
    }
    const begun = { mark, token, epoch };
    // C5: nor does what this server is reading become a copy, until the write is over.
    this.#copies.drop(key);
    let isRevoked = false;
    try {
      isRevoked = (await this.#revoke(joining, key, deadline)) === "revoked" && timeUntil(deadline) > 0;
      return isRevoked ? begun : "superseded";
    } finally {
      // Nothing was written, and nothing will be by this token: without it copies may be made again.
      if (!isRevoked) leaveMark(this.#commands, begun).catch(() => undefined);
    }
  }

  async #joining(deadline: number): Promise<Joining> {
    // For no longer than a write waits for others: this server may be cut off for good.
    const withinMs = Math.min(this.#near.stallMs, timeUntil(deadline));
    return this.#near.joining(withinMs).catch(notWritten);
  }

  async #mark(write: { mark: string; token: string }, ends: boolean, deadline: number) {
    const how = { pendingMs: this.#pendingMs, maxPending, ends };
    return beginWrite(this.#commands, write, how, timeUntil(deadline)).catch(notWritten);
  }

  async #revoke(joining: Joining, key: string, deadline: number): Promise<"revoked" | "superseded"> {
    return this.#near.revoke(joining, { keys: [key] }, timeUntil(deadline)).catch(notWritten);
  }
}

/** @throws {@link SessionStoreError} `UNAVAILABLE` when it has passed */
function timeUntil(deadline: number): number {
  const leftMs = deadline - performance.now();
  if (leftMs > 0) return leftMs;
  throw new SessionStoreError(
    "UNAVAILABLE",
    "The servers with near copies could not be asked before the deadline; nothing was stored.",
  );
}

/** Whatever became of it: a write that has only begun has changed nothing. */
function notWritten(error: unknown): never {
  if (error instanceof CommandError) throw fromCommandError(error, "read");
  if (!(error instanceof Error) || error instanceof SessionStoreError || !("code" in error)) throw error;
  throw new SessionStoreError("UNAVAILABLE", error.message, { cause: error });
}
