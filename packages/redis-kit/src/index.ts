export { keyPrefixOf, primaries, type RedisClient } from "./client.ts";
export { Commands } from "./commands.ts";
export { CommandError } from "./errors.ts";
export { readScript, runScript } from "./script.ts";
