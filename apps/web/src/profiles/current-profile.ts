import type { Request } from "express";
import type { Database } from "../database/tables.ts";
import { notSignedIn, signedIn } from "../sessions/signed-in.ts";
import { findProfile, type Profile } from "./profiles.ts";

/**
 * The profile of whoever is signed in.
 * @throws {RequestError} 401 if nobody is, or if the account is gone
 */
export async function currentProfile(database: Database, req: Request): Promise<Profile> {
  const profile = await findProfile(database, signedIn(req).userId);
  if (!profile) throw notSignedIn();
  return profile;
}
