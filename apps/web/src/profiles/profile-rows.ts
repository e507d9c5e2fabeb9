import { sql } from "kysely";
import { withinDeadline } from "../database/connection.ts";
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
 * Changes a profile in the database, by a deadline on the clock of `performance.now()`, and returns what it is now;
 * undefined if it is not there.
 */
export async function storeChanges(
  database: Database,
  { id, changes, deadline }: { id: string; changes: ProfileChanges; deadline: number },
): Promise<Profile | undefined> {
  const row = await withinDeadline(database, deadline, (connection) =>
    connection
      .updateTable("profiles")
      .set({ ...changes, updated_at: sql<Date>`now()` })
      .where("id", "=", id)
      .returning(columns)
      .executeTakeFirst(),
  );
  return row && profileOf(row);
}

function profileOf({ updated_at, ...row }: Omit<Profile, "updatedAt"> & { updated_at: Date }): Profile {
  return { ...row, updatedAt: updated_at.toISOString() };
}
