import type { Request, Response } from "express";
import type { Profile } from "../profiles/profile.ts";
import type { Profiles } from "../profiles/profiles.ts";
import { toldLookup } from "../profiles/told-lookup.ts";
import { RequestError } from "../requests/request-error.ts";
import { personId } from "./people-query.ts";
import type { ProfileViews } from "../profiles/profile-views.ts";

/** A person, and how often others have looked at them; undefined if that can't be told now. */
export interface SeenPerson {
  readonly profile: Profile;
  readonly views: number | undefined;
}

/**
 * The profile at the address of a person, seen once more, unless by themselves.
 * @throws {RequestError} 404 if there is nobody
 */
export async function seePersonAt(
  { profiles, views }: { profiles: Profiles; views: ProfileViews },
  req: Request<{ id: string }>,
  res: Response,
): Promise<SeenPerson> {
  const profile = await personAt(profiles, req, res);
  const isOwn = profile.id === req.session.userId;
  return { profile, views: await (isOwn ? views.lookup(profile.id) : views.count(profile.id)) };
}

/**
 * The profile at the address of a person.
 * @throws {RequestError} 404 if there is nobody
 */
async function personAt(profiles: Profiles, req: Request<{ id: string }>, res: Response): Promise<Profile> {
  const id = personId(req.params.id);
  const profile = id === undefined ? undefined : await toldLookup(profiles, id, res);
  if (!profile) throw new RequestError(404, "not-found", "There is nobody at this address.");
  return profile;
}
