import type { Response } from "express";
import type { Profile } from "./profile.ts";
import type { FoundProfile, Place, Profiles } from "./profiles.ts";

/** Reads a profile for an answer, and tells in its `X-Cache` where the profile was. */
export async function toldLookup(profiles: Profiles, id: string, res: Response): Promise<Profile | undefined> {
  const found = await profiles.lookup(id);
  tellSources(res, [found]);
  return found.value;
}

/** The same for many, in the order of their ids. */
export async function toldLookupMany(
  profiles: Profiles,
  ids: readonly string[],
  res: Response,
): Promise<(Profile | undefined)[]> {
  const found = await profiles.lookupMany(ids);
  tellSources(res, found);
  return found.map(({ value }) => value);
}

/**
 * Tells where the profiles of an answer were: `X-Cache: memory`, `redis` (or `memcached`) or `database` if all were there, else how many
 * were where, as in `X-Cache: redis=22, database=2`. Without a profile there is nothing to tell.
 */
export function tellSources(res: Response, found: readonly Pick<FoundProfile, "from">[]): void {
  const counts = (["memory", "redis", "memcached", "database"] satisfies Place[])
    .map((tier) => ({ tier, count: found.filter(({ from }) => from === tier).length }))
    .filter(({ count }) => count > 0);
  const [only, ...others] = counts;
  if (only === undefined) return;
  res.set("X-Cache", others.length === 0 ? only.tier : counts.map(({ tier, count }) => `${tier}=${count}`).join(", "));
}
