import { Migrator, sql, type Migration } from "kysely";
import type { Database } from "./tables.ts";

/** In order of their names. One that has run anywhere is never edited: a new one follows it. */
const migrations: Readonly<Record<string, Migration>> = {
  "001-accounts-and-profiles": {
    async up(database) {
      await database.schema
        .createTable("accounts")
        .addColumn("id", "uuid", (column) => column.primaryKey().defaultTo(sql`gen_random_uuid()`))
        .addColumn("username", "text", (column) => column.notNull())
        .addColumn("password_hash", "text", (column) => column.notNull())
        .addColumn("created_at", "timestamptz", (column) => column.notNull().defaultTo(sql`now()`))
        .execute();
      await database.schema
        .createIndex("accounts_username")
        .unique()
        .on("accounts")
        .expression(sql`lower(username)`)
        .execute();
      await database.schema
        .createTable("profiles")
        .addColumn("account_id", "uuid", (column) => column.primaryKey().references("accounts.id").onDelete("cascade"))
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("bio", "text", (column) => column.notNull())
        .addColumn("updated_at", "timestamptz", (column) => column.notNull().defaultTo(sql`now()`))
        .execute();
    },
  },
};

/** Runs the migrations that have not run yet. Two at once are safe: kysely lets the second wait for the first. */
export async function migrateToLatest(database: Database): Promise<void> {
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw new Error("A migration failed.", { cause: error });
}
