import type { Database } from "../database/tables.ts";
import type { Profile, ProfileChanges } from "./profile.ts";
import { loadProfiles, storeChanges } from "./profile-rows.ts";

/** All profiles, by id: the one way to read and to change them. */
export interface Profiles {
  /** One profile, undefined if there is none, and where it was read. */
  lookup(id: string): Promise<{ value: Profile | undefined; from: "database" }>;
  /** Many profiles in one go, in the order of their ids. */
  getMany(ids: readonly string[]): Promise<(Profile | undefined)[]>;
  /** Changes a profile and returns what it is now; undefined if there is none. */
  update(id: string, changes: ProfileChanges): Promise<Profile | undefined>;
}

export function openProfiles(database: Database): Profiles {
  return {
    async lookup(id) {
      const found = await loadProfiles(database, [id]);
      return { value: found.get(id), from: "database" };
    },
    async getMany(ids) {
      const found = await loadProfiles(database, ids);
      return ids.map((id) => found.get(id));
    },
    update: (id, changes) => storeChanges(database, id, changes),
  };
}
