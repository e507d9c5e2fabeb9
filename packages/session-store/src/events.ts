import { channel } from "node:diagnostics_channel";

/** Concurrent changes of one session were merged (S2). */
export interface MergedEvent {
  /** Tells it from other events. */
  readonly type: "merged";
  /** JSON Pointers of the values that both had changed, so that the later commit's replaced the earlier's. */
  readonly conflicts: readonly string[];
}

/** A change to a session that had gone meanwhile was dropped (S3). */
export interface GoneEvent {
  /** Tells it from other events. */
  readonly type: "gone";
}

/** A record could not be used; the request went on without it (S11). */
export interface CorruptEvent {
  /** Tells it from other events. */
  readonly type: "corrupt";
  /** What is wrong with the record. */
  readonly reason: string;
}

/**
 * A change could not be stored, or may not have been; a use could not be recorded, so that the session may end early; or
 * the index could not be brought up to date, which the next sweep tries again.
 */
export interface FailedEvent {
  /** Tells it from other events. */
  readonly type: "commit-failed" | "touch-failed" | "index-failed";
  /** What happened. */
  readonly error: Error;
}

/**
 * Redis is asked no more (`open`), one command is out to see whether it answers (`half-open`), or all is well (`closed`). Of
 * `durability-breaker`: nothing is written, since too few replicas had what was; it is read from meanwhile.
 */
export interface BreakerEvent {
  /** Tells it from other events. */
  readonly type: "breaker" | "durability-breaker";
  /** What it is now. */
  readonly state: "closed" | "open" | "half-open";
}

/** Redis is not one for near copies, so that none are kept; or others keep some and would not be told, so that nothing is read or stored. */
export interface UnsafeRedisEvent {
  /** Tells it from other events. */
  readonly type: "unsafe-redis";
  /** What is wrong with it. */
  readonly error: Error;
}

/**
 * Why a session was destroyed.
 *
 * - `request`: `req.session.destroy()` or `regenerate()`, or the engine's `destroy`;
 * - `user`: the engine's `destroyForUser`;
 * - `limit`: its user had more than `maxPerUser`;
 * - `all`: all sessions were ended.
 */
export type DestroyReason = "request" | "user" | "limit" | "all";

/** A session began or ended. Handles name sessions without giving access to them. */
export interface LifecycleEvent {
  /** `expired` is told of indexed sessions only, at most `sweepMs` late. */
  readonly type: "created" | "destroyed" | "expired" | "rotated";
  /** Which session: the SHA-256 of its id, base64url; of a rotated one that of its old id. */
  readonly handle: string;
  /** Why it was destroyed. */
  readonly reason?: DestroyReason;
  /** Who destroyed it, as the app said. */
  readonly by?: string;
}

/**
 * Something a session went through that no handler sees (G10). No event holds an id or a value. Each is told in the process
 * in which it happens; {@link LifecycleEvent}s also to all others, by `subscribe`.
 */
export type SessionEvent =
  MergedEvent | GoneEvent | CorruptEvent | FailedEvent | BreakerEvent | UnsafeRedisEvent | LifecycleEvent;

/**
 * What near copies go through: loads answered from memory; records kept there; those dropped because somebody wrote them, or because the server
 * joined its group anew; those that went for want of room.
 */
export type NearCount = "near-hit" | "copy-kept" | "copy-revoked" | "copy-evicted";

/** How often each {@link SessionEvent} and {@link NearCount} has happened; `conflicts` counts the values, not the merges. */
export type SessionCounts = Readonly<Record<SessionEvent["type"] | NearCount | "conflicts", number>>;

/**
 * The name of the `node:diagnostics_channel` on which each {@link SessionEvent} of this process is published, whatever
 * engine it comes from: for monitoring that knows nothing of the app.
 *
 * ```ts
 * import { subscribe } from "node:diagnostics_channel";
 *
 * subscribe(sessionChannel, (event) => log.info(event));
 * ```
 */
export const sessionChannel = "lockstep:session";

const diagnostics = channel(sessionChannel);

/** Counts events and passes them on. */
export class Events {
  readonly #counts: Record<keyof SessionCounts, number> = {
    merged: 0,
    gone: 0,
    corrupt: 0,
    "touch-failed": 0,
    "commit-failed": 0,
    "index-failed": 0,
    "durability-breaker": 0,
    breaker: 0,
    "unsafe-redis": 0,
    created: 0,
    destroyed: 0,
    expired: 0,
    rotated: 0,
    conflicts: 0,
    "near-hit": 0,
    "copy-kept": 0,
    "copy-revoked": 0,
    "copy-evicted": 0,
  };
  readonly #listener: ((event: SessionEvent) => void) | undefined;

  constructor(listener: ((event: SessionEvent) => void) | undefined) {
    this.#listener = listener;
  }

  report(event: SessionEvent): void {
    this.#counts[event.type] += 1;
    if (event.type === "merged") this.#counts.conflicts += event.conflicts.length;
    diagnostics.publish(event);
    try {
      this.#listener?.(event);
    } catch (error) {
      // The request that caused the event is not to blame, and may be past answering.
      process.emitWarning(`onEvent threw at "${event.type}": ${String(error)}`, "LockstepWarning");
    }
  }

  /** Counts what is too frequent to be an event. */
  count(what: NearCount, by = 1): void {
    this.#counts[what] += by;
  }

  counts(): SessionCounts {
    return { ...this.#counts };
  }
}

/** An event as it goes over pub/sub. */
export function messageOf(event: LifecycleEvent): string {
  return JSON.stringify(event);
}

/** @returns `undefined` for a message that is none of ours: the channel is open to whoever may publish */
export function readMessage(message: string): LifecycleEvent | undefined {
  try {
    const { type, handle, reason, by } = JSON.parse(message) as Partial<LifecycleEvent>;
    if (typeof handle !== "string" || !["created", "destroyed", "expired", "rotated"].includes(String(type))) {
      return undefined;
    }
    return { type, handle, ...(reason && { reason }), ...(by !== undefined && { by }) } as LifecycleEvent;
  } catch {
    return undefined;
  }
}
