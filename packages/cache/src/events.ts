/** A server of entries stopped or resumed answering: reads of its keys are, or are no longer, answered by the source alone. */
export interface BreakerEvent {
  /** Tells it from other events. */
  readonly type: "breaker";
  /** `half-open`: one command is out to see whether Redis answers again. */
  readonly state: "open" | "half-open" | "closed";
  /** The name of the Memcached server; absent for Redis. */
  readonly server?: string;
}

/** Replicas stopped or resumed answering (`readFrom: "replica"`): reads go, or no longer go, to the primary alone. */
export interface ReplicaBreakerEvent {
  /** Tells it from other events. */
  readonly type: "replica-breaker";
  /** `half-open`: one command is out to see whether they answer again. */
  readonly state: "open" | "half-open" | "closed";
}

/**
 * Replicas stopped or resumed having accepted writes in time (`durability`): those of write-behind collections fail at once, or no longer do.
 * They are read meanwhile.
 */
export interface DurabilityBreakerEvent {
  /** Tells it from other events. */
  readonly type: "durability-breaker";
  /** `half-open`: one write is out to see whether they have it in time again. */
  readonly state: "open" | "half-open" | "closed";
}

/** Redis can't be trusted with what may not be lost; nothing is cached there, and strict writes are refused. */
export interface UnsafeRedisEvent {
  /** Tells it from other events. */
  readonly type: "unsafe-redis";
  /** What is wrong with it. */
  readonly error: Error;
}

/** Something of one collection. */
export interface CollectionEvent {
  /**
   * - `too-large`: a value was served and not kept;
   * - `corrupt`: an entry can not be read; the source answered, or, of a write-behind collection, the read failed;
   * - `refresh-failed`: the source failed to give a new value for one whose life is over; the old one was served;
   * - `observation-failed`: a read of the sample (`observe`) could not be compared with the source;
   * - `read-failed`: the shared tier is there, and refused a read (a user who may not, a key that is not ours, a Memcached without CAS); the
   *   source answered, and so it does from now on: told once for each code of an error, however long it lasts;
   * - `store-failed`: what was loaded could not be stored, or what was written could not be ended: nothing stale stays;
   * - `outcome-unknown`: a write was not done within its deadline;
   * - `lapsed`: a write ended after its token had lapsed: it took longer than `pendingMs`, or Redis lost the mark; its entry is dropped;
   * - `proceeded`: a write ran, or an invalidation was noted, while Redis was gone (`onUnavailable: "proceed"`);
   * - `caught-up`: such an entry was invalidated after all;
   * - `flush-failed`: rows of a write-behind collection could not be saved, and are tried again; told of each kind of failure (by its
   *   code, else its message) at first and then once a minute, `counts().failedSaves` has each;
   * - `dead-letter`: one of them failed too often while others were saved; it is kept, and not tried again by itself;
   * - `rows-lost`: accepted values had vanished from Redis before they were saved (`counts().lostRows`).
   */
  readonly type:
    | "too-large"
    | "corrupt"
    | "refresh-failed"
    | "observation-failed"
    | "read-failed"
    | "store-failed"
    | "outcome-unknown"
    | "lapsed"
    | "proceeded"
    | "caught-up"
    | "flush-failed"
    | "dead-letter"
    | "rows-lost";
  /** Whose entry. */
  readonly collection: string;
  /** The error behind it, where there is one. */
  readonly error?: unknown;
}

/** What a read was given differs from the source, though no write is under way. */
export interface DisagreementEvent {
  /** Tells it from other events. */
  readonly type: "disagreement";
  /** Whose entry. */
  readonly collection: string;
  /** `copy`: a near copy differs from its entry. `entry`: an entry differs from the source. */
  readonly cause: "copy" | "entry";
}

/** The marks of dead writers could not be looked for; they are again a minute later. */
export interface SweepFailedEvent {
  /** Tells it from other events. */
  readonly type: "sweep-failed";
  /** What happened. */
  readonly error: unknown;
}

/** Something that no caller sees (G10). No event holds an id or a value, but for what your own loader or saver says in its errors. */
export type CacheEvent =
  | BreakerEvent
  | ReplicaBreakerEvent
  | DurabilityBreakerEvent
  | UnsafeRedisEvent
  | SweepFailedEvent
  | DisagreementEvent
  | CollectionEvent;

/** Who is told of events. */
export type OnEvent = ((event: CacheEvent) => void) | undefined;

/** An event of a collection, which puts its name into it. */
export type EventOfCollection = Omit<CollectionEvent, "collection"> | Omit<DisagreementEvent, "collection">;

/** Passes an event on. The caller's work is not to blame for what the listener throws. */
export function tell(listener: OnEvent, event: CacheEvent): void {
  const warn = (error: unknown) => {
    process.emitWarning(`onEvent threw at "${event.type}": ${String(error)}`, "LockstepWarning");
  };
  try {
    // An async listener fits the type too.
    Promise.resolve(listener?.(event)).catch(warn);
  } catch (error) {
    warn(error);
  }
}
