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
 * is only replaced by a newer version. Those of profiles that are gone by now are left out: they would fail again and again.
 */
export async function saveViews(database: Database, batch: readonly Row<number>[], deadline: number): Promise<void> {
  const ids = batch.map(({ id }) => id);
  const views = batch.map(({ value = 0 }) => String(value));
  const versions = batch.map(({ version }) => String(version));
  await withinDeadline(database, deadline, (connection) =>
    sql`
      insert into profile_views (id, views, version)
      select counted.id, counted.views, counted.version
      from unnest(${ids}::uuid[], ${views}::bigint[], ${versions}::bigint[]) as counted (id, views, version)
      where exists (select from profiles where profiles.id = counted.id)
      on conflict (id) do update set views = excluded.views, version = excluded.version
      where profile_views.version < excluded.version
    `.execute(connection),
  );
}
