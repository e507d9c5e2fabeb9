export { CircuitBreaker, isOutage, type BreakerState, type Sender } from "./breaker.ts";
export { isCluster, keyPrefixOf, primaries, type RedisClient } from "./client.ts";
export { Commands } from "./commands.ts";
export { withDeadline } from "./deadline.ts";
export { CommandError } from "./errors.ts";
export { escapeGlob, scanKeys } from "./scan.ts";
export { readScript, runReadOnlyScript, runScript, type Script } from "./script.ts";
export { parseServerInfo, type ServerInfo } from "./server-info.ts";
export { groupBySlot } from "./slots.ts";
