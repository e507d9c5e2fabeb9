import type { Copies, Near } from "@lockstep/redis-kit";
import type { Counts } from "./counts.ts";
import type { Driver, EntryRules } from "./drivers/driver.ts";
import type { EventOfCollection } from "./events.ts";
import { extraOf } from "./freshness.ts";
import type { Others } from "./others.ts";
import type { ResolvedCollectionOptions } from "./options.ts";
import type { ReplicaReads } from "./replicas.ts";

/** How much longer than a load can take its token lives: the time to send the result. */
const storeMarginMs = 250;

/** What the reader and the writer of one collection share. */
export interface CollectionParts<T, Id> {
  readonly driver: Driver;
  readonly rules: EntryRules;
  readonly options: ResolvedCollectionOptions<T, Id>;
  /** Near copies, where the collection keeps any. */
  readonly copies: Copies | undefined;
  /** C1: whose lease they need; `undefined`: they are bounded in time. */
  readonly lease: Pick<Near, "mayServe" | "mayKeep"> | undefined;
  /** Where the collection is read from replicas. */
  readonly replicas: ReplicaReads | undefined;
  /** What other servers keep of it. */
  readonly others: Others;
  readonly counts: Counts;
  readonly tell: (event: EventOfCollection) => void;
}

/** What the reader of one collection needs of it. */
export interface ReaderParts<T, Id> extends Omit<CollectionParts<T, Id>, "driver" | "others"> {
  readonly driver: Pick<Driver, "read" | "store">;
  /** The shared tier has what the source lacks: reads fail where it can't be asked. */
  readonly isSharedTruth?: boolean;
}

/** A value is served, and not kept. */
export function tellTooLarge({ counts, tell }: Pick<CollectionParts<unknown, unknown>, "counts" | "tell">): void {
  counts.add("tooLarge");
  tell({ type: "too-large" });
}

/** How a collection's entries are kept. */
export function entryRulesOf<T, Id>(options: ResolvedCollectionOptions<T, Id>, keepsCopies: boolean): EntryRules {
  return {
    pendingMs: options.pendingMs,
    // A load may wait for its turn for as long as it may then take: see SourceLoads.
    tokenLifeMs: 2 * options.loadTimeoutMs + storeMarginMs,
    revision: options.revision,
    extraMs: extraOf(options),
    asksLife: keepsCopies,
  };
}
