export type { Serializer, SessionFields } from "./codec.ts";
export type { StoreCallback } from "./engine-store.ts";
export { SessionStoreError, type SessionStoreErrorCode } from "./errors.ts";
export type { CorruptEvent, FailedEvent, GoneEvent, MergedEvent, SessionCounts, SessionEvent } from "./events.ts";
export type { IdScheme } from "./keys.ts";
export { type Resolver, sum, union } from "./merge.ts";
export { type SessionOptions, type SharedEngine, session } from "./middleware.ts";
export type { SessionsOptions } from "./options.ts";
export { RedisStore, type RedisStoreOptions } from "./redis-store.ts";
export {
  type CommitOutcome,
  type ListedSession,
  type Sessions,
  type TrackedSession,
  createSessions,
} from "./sessions.ts";
