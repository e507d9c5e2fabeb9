import { type CircuitBreaker, type Near, claimOf, nearProtocol } from "@lockstep/redis-kit";
import { CacheError } from "../errors.ts";
import { claimKey } from "../keys.ts";

/**
 * What makes it wrong to write entries of a cache here, if anything does: other servers keep near copies of them, and would not be told.
 * It is looked at when this server starts, so that of those which run already none is seen.
 *
 * @throws CommandError
 */
export async function dangerOfCopies(
  commands: CircuitBreaker,
  name: string,
  near: Near | undefined,
): Promise<CacheError | undefined> {
  const claim = await claimOf(commands, claimKey(name));
  if (!claim || (claim.group === near?.group && claim.version === nearProtocol)) return undefined;
  const theirs = `Other servers keep near copies of the cache "${name}", in the group "${claim.group}" (protocol ${claim.version}).`;
  return new CacheError(
    "UNSAFE_REDIS",
    `${theirs} Writes of this one, which is in no such group, would leave them stale.`,
  );
}
