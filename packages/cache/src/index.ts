export { createCache, type Cache, type OpenedCollection } from "./cache.ts";
export type { Collection } from "./collection.ts";
export { tripChannel, type CollectionCounts, type Latency, type Tier, type Trip, type TripTier } from "./counts.ts";
export { createMemory, type Memory } from "./drivers/memory-items.ts";
export { CacheError, type CacheErrorCode } from "./errors.ts";
export type {
  BreakerEvent,
  CacheEvent,
  CollectionEvent,
  DisagreementEvent,
  ReplicaBreakerEvent,
  DurabilityBreakerEvent,
  SweepFailedEvent,
  UnsafeRedisEvent,
} from "./events.ts";
export type {
  CacheOptions,
  CollectionOptions,
  CommonCacheOptions,
  Disagreement,
  Load,
  LoadContext,
  LoadMany,
  Memcached,
  ObserveOptions,
  SharedTier,
  WriteContext,
  WritePolicy,
} from "./options.ts";
export type { AnsweredBy, Estimate, NearPayoff, PayoffReport, PayoffVerdict } from "./payoff.ts";
export type { Lookup } from "./reader.ts";
export type { Backlog, DeadLetter } from "./write-behind/backlog.ts";
export type { WriteBehindCollection } from "./write-behind/collection.ts";
export type { WriteBehindCounts, WriteBehindTime } from "./write-behind/counts.ts";
export type { Row, Save, WriteBehindOptions } from "./write-behind/options.ts";
