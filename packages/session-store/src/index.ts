export type { Serializer, SessionFields } from "./codec.ts";
export { SessionStoreError, type SessionStoreErrorCode } from "./errors.ts";
export type { SessionCounts, SessionEvent } from "./events.ts";
export type { IdScheme } from "./keys.ts";
export { type Resolver, sum, union } from "./merge.ts";
export { type EngineOptions, type SessionOptions, session } from "./middleware.ts";
export type { SessionsOptions } from "./options.ts";
export { RedisStore, type RedisStoreOptions } from "./redis-store.ts";
export { type CommitResult, type Sessions, type TrackedSession, createSessions } from "./sessions.ts";
