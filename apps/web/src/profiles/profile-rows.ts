import { sql } from "kysely";
import type { Database } from "../database/tables.ts";
import type { Profile, ProfileChanges } from "./profile.ts";

const columns = ["id", "name", "headline", "city", "bio", "updated_at"] as const;

/** Reads profiles from the database in one query; those that are not there are not in the map. */
export async function loadProfiles(database: Database, ids: readonly string[]): Promise<ReadonlyMap<string, Profile>> {
  const rows = await database
    .selectFrom("profiles")
    .select(columns)
    .where("id", "=", sql<string>`any(${ids}::uuid[])`)
    .execute();
  return new Map(rows.map((row) => [row.id, profileOf(row)]));
}

/**
 * Changes a profile in the database and returns what it is now; undefined if it is not there. It is one statement, so
 * that the database's statement timeout bounds all of it.
 */
export async function storeChanges(
  database: Database,
  id: string,
  changes: ProfileChanges,
): Promise<Profile | undefined> {
  const row = await database
    .updateTable("profiles")
    .set({ ...changes, updated_at: sql<Date>`now()` })
    .where("id", "=", id)
    .returning(columns)
    .executeTakeFirst();
  return row && profileOf(row);
}

function profileOf({ updated_at, ...row }: Omit<Profile, "updatedAt"> & { updated_at: Date }): Profile {
  return { ...row, updatedAt: updated_at.toISOString() };
}
