export type { Joining, Near, CopyHolder, Revoked, RedisClient } from "@lockstep/redis-kit";
export { type NearCounts, type RevocationTrip, revocationChannel } from "./counts.ts";
export { NearError, type NearErrorCode } from "./errors.ts";
export type { LossReason, NearEvent } from "./events.ts";
export { joinNearCache, type NearCache, type NearMember, type NearStatus } from "./near-cache.ts";
export type { JoinOptions } from "./options.ts";
