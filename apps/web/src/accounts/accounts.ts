import { sql } from "kysely";
import { z } from "zod";
import type { Database } from "../database/tables.ts";
import type { Profile } from "../profiles/profile.ts";
import { check, invalid, type Checked } from "../requests/validation.ts";
import type { Attempts } from "./attempts.ts";
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

// Longer than any there is, it is somebody's attempt to fill Redis or to keep a processor busy.
const tooLong = "This is longer than any of ours.";
const credentials = z.object({
  username: z.string({ error: "Enter your username." }).min(1, "Enter your username.").max(128, tooLong),
  password: z.string({ error: "Enter your password." }).min(1, "Enter your password.").max(128, tooLong),
});

/** What accounts are kept in, and what counts the attempts at them. */
export interface AccountStores {
  readonly database: Database;
  readonly attempts: Attempts;
}

/** What a client sent, and the network that it came from. */
export interface Sent {
  readonly body: unknown;
  readonly network: string;
}

/**
 * Opens an account for what a client sent, with a profile that carries its username.
 * @throws {RequestError} 429 if too many come from one network, 503 if too many sign in or up at this moment
 */
export async function signUp(
  { database, attempts }: AccountStores,
  { body, network }: Sent,
): Promise<Checked<Account>> {
  const checked = check(newAccount, body);
  if (!checked.valid) return checked;
  const { username, password } = checked.value;
  await attempts.signUp(network);
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
 * @throws {RequestError} 429 if too many attempts have failed, 503 if too many sign in or up at this moment
 */
export async function signIn(
  { database, attempts }: AccountStores,
  { body, network }: Sent,
): Promise<Checked<Account | "wrong-credentials">> {
  const checked = check(credentials, body);
  if (!checked.valid) return checked;
  const { username, password } = checked.value;
  const attempt = async () => {
    const account = await findByUsername(database, username);
    const matches = await verifyPassword(password, account?.passwordHash);
    return account && matches ? account : "wrong-credentials";
  };
  const value = await attempts.signIn({ username, network }, attempt, (result) => result === "wrong-credentials");
  return { valid: true, value };
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
