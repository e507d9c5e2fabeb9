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

/** A change could not be stored, or may not have been; or a use could not be recorded, so that the session may end early. */
export interface FailedEvent {
  /** Tells it from other events. */
  readonly type: "commit-failed" | "touch-failed";
  /** What happened. */
  readonly error: Error;
}

/** Something a session went through that no handler sees (G10). No event holds an id or a value. */
export type SessionEvent = MergedEvent | GoneEvent | CorruptEvent | FailedEvent;

/** How often each {@link SessionEvent} has happened; `conflicts` counts the values, not the merges. */
export type SessionCounts = Readonly<Record<SessionEvent["type"] | "conflicts", number>>;

/** Counts events and passes them on. */
export class Events {
  readonly #counts = { merged: 0, gone: 0, corrupt: 0, "touch-failed": 0, "commit-failed": 0, conflicts: 0 };
  readonly #listener: ((event: SessionEvent) => void) | undefined;

  constructor(listener: ((event: SessionEvent) => void) | undefined) {
    this.#listener = listener;
  }

  report(event: SessionEvent): void {
    this.#counts[event.type] += 1;
    if (event.type === "merged") this.#counts.conflicts += event.conflicts.length;
    try {
      this.#listener?.(event);
    } catch (error) {
      // The request that caused the event is not to blame, and may be past answering.
      process.emitWarning(`onEvent threw at "${event.type}": ${String(error)}`, "LockstepWarning");
    }
  }

  counts(): SessionCounts {
    return { ...this.#counts };
  }
}
