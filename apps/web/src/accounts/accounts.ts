import { sql } from "kysely";
import { z } from "zod";
import type { Database } from "../database/tables.ts";
import type { Profile } from "../profiles/profile.ts";
import { check, invalid, type Checked } from "../requests/validation.ts";
import { hashPassword, verifyPassword } from "./password.ts";

/** Who can sign in. */
export interface Account {
  readonly id: string;
  readonly username: string;
  readonly name: string;
}

/** What a profile starts with. */
type NewProfile = Pick<Profile, "name" | "headline" | "city" | "bio">;

const username = z
  .string({ error: "Choose a username." })
  .regex(/^[a-z0-9][a-z0-9._-]{2,31}$/i, "Use 3 to 32 letters, digits, dots, hyphens or underscores.");

const newAccount = z.object({
  username,
  password: z
    .string({ error: "Choose a password." })
    .min(8, "Use at least 8 characters.")
    .max(128, "Use at most 128 characters."),
});

const credentials = z.object({
  username: z.string({ error: "Enter your username." }).min(1, "Enter your username."),
  password: z.string({ error: "Enter your password." }).min(1, "Enter your password."),
});

/** Opens an account for what a client sent, with a profile that carries its username. */
export async function signUp(database: Database, input: unknown): Promise<Checked<Account>> {
  const checked = check(newAccount, input);
  if (!checked.valid) return checked;
  const { username, password } = checked.value;
  const passwordHash = await hashPassword(password);
  const account = await createAccount(database, {
    username,
    passwordHash,
    profile: { name: username, headline: "", city: "", bio: "" },
  });
  return account ? { valid: true, value: account } : invalid({ username: "This username is taken." });
}

/**
 * Finds the account that the credentials a client sent belong to. `"wrong-credentials"` does not tell whether it is the
 * username or the password.
 */
export async function signIn(database: Database, input: unknown): Promise<Checked<Account | "wrong-credentials">> {
  const checked = check(credentials, input);
  if (!checked.valid) return checked;
  const account = await findByUsername(database, checked.value.username);
  const matches = await verifyPassword(checked.value.password, account?.passwordHash);
  return { valid: true, value: account && matches ? account : "wrong-credentials" };
}

/** Stores an account and its profile, unless the username is taken: then it stores nothing and returns undefined. */
export async function createAccount(
  database: Database,
  { username, passwordHash, profile }: { username: string; passwordHash: string; profile: NewProfile },
): Promise<Account | undefined> {
  // One statement, so that no account is ever without its profile, and no other sign-up comes between check and insert.
  // It goes past the cache of profiles: the new id is random, so that no server can hold that it has none.
  return database
    .with("account", (query) =>
      query
        .insertInto("accounts")
        .values({ username, password_hash: passwordHash })
        .onConflict((conflict) => conflict.doNothing())
        .returning(["id", "username"]),
    )
    .with("profile", (query) =>
      query
        .insertInto("profiles")
        .columns(["id", "name", "headline", "city", "bio"])
        .expression((values) =>
          values
            .selectFrom("account")
            .select("id")
            .select((row) => [
              row.val(profile.name).as("name"),
              row.val(profile.headline).as("headline"),
              row.val(profile.city).as("city"),
              row.val(profile.bio).as("bio"),
            ]),
        )
        .returning("name"),
    )
    .selectFrom(["account", "profile"])
    .select(["id", "username", "name"])
    .executeTakeFirst();
}

async function findByUsername(
  database: Database,
  name: string,
): Promise<(Account & { passwordHash: string }) | undefined> {
  if (!username.safeParse(name).success) return undefined;
  return database
    .selectFrom("accounts")
    .innerJoin("profiles", "profiles.id", "accounts.id")
    .select(["accounts.id", "username", "name", "password_hash as passwordHash"])
    .where(sql`lower(username)`, "=", name.toLowerCase())
    .executeTakeFirst();
}
