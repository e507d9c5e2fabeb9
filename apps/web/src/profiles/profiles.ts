import { type Cache, CacheError, type Lookup, type WritePolicy } from "@lockstep/cache";
import type { SharedTierName } from "../config.ts";
import type { Database } from "../database/tables.ts";
import { outcomeUnknown, RequestError } from "../requests/request-error.ts";
import { loadProfiles, storeChanges } from "./profile-rows.ts";
import type { Profile, ProfileChanges } from "./profile.ts";

/** How long a profile stays in the cache unless it is changed: here, or by who goes past this app and can wait so long. */
const ttlMs = 10 * 60 * 1_000;

/** Where a profile was: in this server's memory, in what the servers share, or in the database alone. */
export type Place = "memory" | SharedTierName | "database";

/** A profile, undefined if there is none, and where it was. */
export interface FoundProfile {
  readonly value: Profile | undefined;
  readonly from: Place;
}

/** All profiles, by id: the one way to read and to change them. */
export interface Profiles {
  lookup(id: string): Promise<FoundProfile>;
  /** Many profiles, in the order of their ids: one trip to the cache, one query. */
  lookupMany(ids: readonly string[]): Promise<FoundProfile[]>;
  /**
   * Changes a profile and returns what it is now, undefined if there is none; no server shows the old one after that.
   * @throws {RequestError} 503 if the change was not made, or if nobody knows whether it was
   */
  update(id: string, changes: ProfileChanges): Promise<Profile | undefined>;
}

/** The profiles in the database, read through the cache, whose shared tier is called `tier`. */
export function openProfiles(
  { database, cache }: { database: Database; cache: Cache },
  { writePolicy, tier }: { writePolicy: WritePolicy; tier: SharedTierName },
): Profiles {
  const profiles = cache.collection<Profile>("profile", {
    loadMany: (ids) => loadProfiles(database, ids),
    ttlMs,
    writePolicy,
  });
  const places = { near: "memory", shared: tier, source: "database" } as const;
  const found = ({ value, from }: Lookup<Profile>): FoundProfile => ({ value, from: places[from] });
  return {
    lookup: async (id) => found(await profiles.lookup(id)),
    lookupMany: async (ids) => (await profiles.lookupMany(ids)).map(found),
    async update(id, changes) {
      try {
        return await profiles.update(id, ({ deadline }) => storeChanges(database, { id, changes, deadline }));
      } catch (error) {
        throw failureOf(error);
      }
    },
  };
}

/** Whoever changed something must know when it may have happened all the same. */
function failureOf(cause: unknown): unknown {
  if (!(cause instanceof CacheError)) return cause;
  switch (cause.code) {
    case "OUTCOME_UNKNOWN":
      return outcomeUnknown(cause);
    case "UNAVAILABLE":
    case "UNSAFE_REDIS": {
      const message = "Nothing was changed: the servers cannot be told of a change right now. Try again in a moment.";
      return new RequestError(503, "cache-unavailable", message, { cause });
    }
    default:
      return cause;
  }
}
