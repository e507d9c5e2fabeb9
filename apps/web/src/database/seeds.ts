import { sql } from "kysely";
import { createAccount } from "../accounts/accounts.ts";
import { hashPassword } from "../accounts/password.ts";
import { seededPeople } from "./seeded-people.ts";
import type { Database } from "./tables.ts";

/** The password of the demo accounts, shown on the sign-in page. */
export const demoPassword = "lockstep-demo";

/** Accounts to try the app with. */
export const demoAccounts = [
  {
    username: "alice",
    profile: {
      name: "Alice Ahlberg",
      headline: "Bookkeeper, three desks",
      city: "Malmö",
      bio: "Keeps one notebook on three desks.",
    },
  },
  {
    username: "bob",
    profile: {
      name: "Bob Okafor",
      headline: "Reader, nearest server",
      city: "Lagos",
      bio: "Reads on whichever server is nearest.",
    },
  },
] as const;

/** Creates the demo accounts and the people of the directory; those that exist, edited or not, stay as they are. */
export async function seed(database: Database): Promise<void> {
  for (const account of demoAccounts) {
    await createAccount(database, { ...account, passwordHash: await hashPassword(demoPassword) });
  }
  await createPeople(database);
}

/** One statement with one parameter, however many they are. */
async function createPeople(database: Database): Promise<void> {
  await sql`
    insert into profiles (id, name, headline, city, bio)
    select id, name, headline, city, bio
    from json_to_recordset(${JSON.stringify(seededPeople())})
      as person (id uuid, name text, headline text, city text, bio text)
    on conflict do nothing
  `.execute(database);
}
