import { createAccount } from "../accounts/accounts.ts";
import { hashPassword } from "../accounts/password.ts";
import type { Database } from "./tables.ts";

/** The password of the demo accounts, shown on the sign-in page. */
export const demoPassword = "lockstep-demo";

/** Accounts to try the app with. */
export const demoAccounts = [
  { username: "alice", name: "Alice Ahlberg", bio: "Keeps one notebook on three desks." },
  { username: "bob", name: "Bob Okafor", bio: "Reads on whichever server is nearest." },
] as const;

/** Creates the demo accounts; those that exist, edited or not, stay as they are. */
export async function seed(database: Database): Promise<void> {
  for (const account of demoAccounts) {
    await createAccount(database, { ...account, passwordHash: await hashPassword(demoPassword) });
  }
}
