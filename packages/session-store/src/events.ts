/** Something a session went through that no handler sees (G10). No event holds an id or a value. */
export type SessionEvent =
  /** Concurrent changes were merged. `conflicts`: JSON Pointers of values that both had changed, so that the later won. */
  | { readonly type: "merged"; readonly conflicts: readonly string[] }
  /** A change to a session that had gone meanwhile was dropped (S3). */
  | { readonly type: "gone" }
  /** A record could not be used; the request went on without it. `reason`: what is wrong with it. */
  | { readonly type: "corrupt"; readonly reason: string }
  /** A use could not be recorded; the session may end earlier than its idle limit. */
  | { readonly type: "touch-failed"; readonly error: Error }
  /** A change could not be stored, or may not have been. */
  | { readonly type: "commit-failed"; readonly error: Error };

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
    this.#listener?.(event);
  }

  counts(): SessionCounts {
    return { ...this.#counts };
  }
}
