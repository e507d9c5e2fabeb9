import type { CollectionEvent } from "../events.ts";
import type { WriteCounts } from "./counts.ts";
import type { ResolvedWriteBehindOptions } from "./options.ts";
import type { Shared } from "./shared.ts";

/** What the flushers of one collection's partitions share. */
export interface FlusherParts<T> {
  readonly shared: Shared;
  readonly options: ResolvedWriteBehindOptions<T>;
  readonly counts: WriteCounts;
  readonly tell: (event: Omit<CollectionEvent, "collection">) => void;
  /** Something failed, and is tried again. */
  readonly failed: (error: unknown) => void;
  /** Aborts when the cache is closed. */
  readonly signal: AbortSignal;
  /** Does work that asks the source, so many at a time. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  /** The source has just saved something. */
  readonly sourceSaved: () => void;
  /** When it last has, on the clock of `performance.now()`; `undefined`: it has not yet. */
  readonly lastSavedAt: () => number | undefined;
}
