import type { Generated, GeneratedAlways, Kysely } from "kysely";

/** The rows as PostgreSQL keeps them; migrations.ts makes the tables. */
interface Tables {
  accounts: {
    id: Generated<string>;
    username: string;
    password_hash: string;
    created_at: Generated<Date>;
  };
  profiles: {
    /** An account's profile has its id; a profile needs no account. */
    id: string;
    name: string;
    headline: string;
    city: string;
    bio: string;
    updated_at: Generated<Date>;
    /** The name as the directory sorts it, and the words by which it finds a profile, without accents or capitals. */
    sort_name: GeneratedAlways<string>;
    words: GeneratedAlways<string>;
  };
  /** How often a profile was looked at; `version` tells an older count from a newer one. Both are bigint, which pg gives as text. */
  profile_views: {
    id: string;
    views: string;
    version: string;
  };
}

/** The system of record: accounts and profiles. */
export type Database = Kysely<Tables>;
