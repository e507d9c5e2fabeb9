export type { Serializer, SessionFields } from "./codec.ts";
export type { CommitOutcome } from "./committer.ts";
export type { OnUnavailable, StoreCallback } from "./engine-store.ts";
export { SessionStoreError, type SessionStoreErrorCode } from "./errors.ts";
export type { MissedEvent, SessionListener } from "./event-bus.ts";
export {
  type BreakerEvent,
  type CorruptEvent,
  type DestroyReason,
  type FailedEvent,
  type GoneEvent,
  type LifecycleEvent,
  type MergedEvent,
  type NearCount,
  type SessionCounts,
  type SessionEvent,
  type UnsafeRedisEvent,
  sessionChannel,
} from "./events.ts";
export type { EncryptionOptions } from "./keyring.ts";
export type { IdScheme } from "./keys.ts";
export type { OverwrittenPaths } from "./losses.ts";
export { type Resolver, sum, union } from "./merge.ts";
export { type SessionOptions, type SharedEngine, session } from "./middleware.ts";
export { type ObserveOptions, observe, observedCounts } from "./observe.ts";
export type { ObservedCounts, OverwrittenLoss, RevivedLoss, SessionLoss } from "./observer.ts";
export type { SessionsOptions, UserLimit } from "./options.ts";
export { RedisStore, type RedisStoreOptions } from "./redis-store.ts";
export { rotateSession } from "./request-store.ts";
export type { RotatedSession } from "./rotation.ts";
export { type ListedSession, type Sessions, createSessions } from "./sessions.ts";
export { type CommandTiming, commandChannel } from "./timed-commands.ts";
export type { TrackedSession } from "./tracked-session.ts";
export type { DestroyForUserOptions, UserSession } from "./user-sessions.ts";
