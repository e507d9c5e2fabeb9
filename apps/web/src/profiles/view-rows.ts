import type { Row } from "@lockstep/cache";
import { sql } from "kysely";
import { withinDeadline } from "../database/connection.ts";
import type { Database } from "../database/tables.ts";

/** Reads how often profiles were looked at; those that nobody has looked at are not in the map. */
export async function loadViews(database: Database, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await database
    .selectFrom("profile_views")
    .select(["id", "views"])
    .where("id", "=", sql<string>`any(${ids}::uuid[])`)
    .execute();
  return new Map(rows.map(({ id, views }) => [id, Number(views)]));
}

/**
 * Saves counts in one statement, by a deadline on the clock of `performance.now()`. A batch may come twice, or after a newer one: a count
 * is only replaced by a newer version.
 */
export async function saveViews(database: Database, batch: readonly Row<number>[], deadline: number): Promise<void> {
  const values = batch.map(({ id, value = 0, version }) => ({ id, views: String(value), version: String(version) }));
  await withinDeadline(database, deadline, (connection) =>
    connection
      .insertInto("profile_views")
      .values(values)
      .onConflict((conflict) =>
        conflict
          .column("id")
          .doUpdateSet({ views: sql`excluded.views`, version: sql`excluded.version` })
          .where("profile_views.version", "<", sql<string>`excluded.version`),
      )
      .execute(),
  );
}
