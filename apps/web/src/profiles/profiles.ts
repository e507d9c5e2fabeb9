import { sql } from "kysely";
import { z } from "zod";
import type { Database } from "../database/tables.ts";
import { check, visibleLine, type Checked } from "../requests/validation.ts";

/** What an account tells about its owner. */
export interface Profile {
  readonly username: string;
  readonly name: string;
  readonly bio: string;
  readonly updatedAt: Date;
}

const changes = z.object({
  name: z
    .string("Enter your name.")
    .trim()
    .min(1, "Enter your name.")
    .max(80, "Use at most 80 characters.")
    .regex(visibleLine, "Use letters, digits or signs, without control characters.")
    .optional(),
  bio: z
    .string("Write your bio as text.")
    .transform((text) => text.replaceAll("\r\n", "\n").trim())
    .pipe(
      z
        .string()
        .max(1_000, "Use at most 1000 characters.")
        .regex(/^([^\p{Cc}\p{Cs}]|\n|\t)*$/u, "Leave out control characters."),
    )
    .optional(),
});

/** Reads an account's profile from the database; undefined if the account is gone. */
export async function findProfile(database: Database, accountId: string): Promise<Profile | undefined> {
  return database
    .selectFrom("profiles")
    .innerJoin("accounts", "accounts.id", "profiles.account_id")
    .select(["username", "name", "bio", "updated_at as updatedAt"])
    .where("account_id", "=", accountId)
    .executeTakeFirst();
}

/** Stores what a client sent; a field that is left out stays as it is. */
export async function updateProfile(database: Database, accountId: string, input: unknown): Promise<Checked<void>> {
  const checked = check(changes, input);
  if (!checked.valid) return checked;
  const { name, bio } = checked.value;
  await database
    .updateTable("profiles")
    .set({ name, bio, updated_at: sql<Date>`now()` })
    .where("account_id", "=", accountId)
    .execute();
  return { valid: true, value: undefined };
}
