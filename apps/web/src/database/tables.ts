import type { Generated, Kysely } from "kysely";

/** The rows as PostgreSQL keeps them; migrations.ts makes the tables. */
interface Tables {
  accounts: {
    id: Generated<string>;
    username: string;
    password_hash: string;
    created_at: Generated<Date>;
  };
  profiles: {
    account_id: string;
    name: string;
    bio: string;
    updated_at: Generated<Date>;
  };
}

/** The system of record: accounts and profiles. */
export type Database = Kysely<Tables>;
