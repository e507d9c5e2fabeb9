import type { Request, Response } from "express";
import type { Checked } from "../requests/validation.ts";
import { notSignedIn, signedIn } from "../sessions/signed-in.ts";
import { checkChanges, type Profile } from "./profile.ts";
import type { Profiles } from "./profiles.ts";
import { toldLookup } from "./told-lookup.ts";

/**
 * The profile of whoever is signed in.
 * @throws {RequestError} 401 if nobody is, or if the account is gone
 */
export async function currentProfile(profiles: Profiles, req: Request, res: Response): Promise<Profile> {
  const profile = await toldLookup(profiles, signedIn(req).userId, res);
  if (!profile) throw notSignedIn();
  return profile;
}

/**
 * Changes the profile of whoever is signed in as a client asked, and returns what it is now.
 * @throws {RequestError} 401 if nobody is, or if the account is gone
 */
export async function changeCurrentProfile(profiles: Profiles, req: Request): Promise<Checked<Profile>> {
  const { userId } = signedIn(req);
  const changes = checkChanges(req.body);
  if (!changes.valid) return changes;
  const profile = await profiles.update(userId, changes.value);
  if (!profile) throw notSignedIn();
  return { valid: true, value: profile };
}
