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
  "002-people": {
    async up(database) {
      // People need no account to be in the directory. It is the account now that never is without its profile.
      await sql`alter table profiles drop constraint profiles_account_id_fkey`.execute(database);
      await database.schema.alterTable("profiles").renameColumn("account_id", "id").execute();
      await sql`alter table accounts add constraint accounts_profile foreign key (id) references profiles`.execute(
        database,
      );
      await database.schema
        .alterTable("profiles")
        .addColumn("headline", "text", (column) => column.notNull().defaultTo(""))
        .addColumn("city", "text", (column) => column.notNull().defaultTo(""))
        .execute();
      // NFKD takes accents off their letters, so that "malmo" finds Malmö. What separates words is spelled out, because
      // what counts as a letter depends on the locale that a database was created with.
      await sql`
        create function folded(text) returns text language sql immutable
          return lower(regexp_replace(normalize($1, NFKD), '[\\u0300-\\u036f]', '', 'g'))
      `.execute(database);
      await sql`
        create function words_of(text) returns text[] language sql immutable
          return array_remove(regexp_split_to_array(folded($1), '[\\s!-/:-@\\[-\x60{-~\\u2010-\\u2027]+'), '')
      `.execute(database);
      await sql`
        alter table profiles
          add column sort_name text collate "C" not null generated always as (folded(name)) stored,
          add column words tsvector not null
            generated always as (array_to_tsvector(words_of(name || ' ' || headline || ' ' || city))) stored
      `.execute(database);
      await database.schema.createIndex("profiles_by_name").on("profiles").columns(["sort_name", "id"]).execute();
      // Without fastupdate: new entries would wait in a list that each search walks until a vacuum, and PGlite has none.
      await sql`create index profiles_words on profiles using gin (words) with (fastupdate = off)`.execute(database);
    },
  },
  "003-profile-views": {
    async up(database) {
      await database.schema
        .createTable("profile_views")
        .addColumn("id", "uuid", (column) => column.primaryKey().references("profiles.id").onDelete("cascade"))
        .addColumn("views", "bigint", (column) => column.notNull())
        .addColumn("version", "bigint", (column) => column.notNull())
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
