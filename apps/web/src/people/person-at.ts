import type { Request, Response } from "express";
import type { Profile } from "../profiles/profile.ts";
import type { Profiles } from "../profiles/profiles.ts";
import { toldLookup } from "../profiles/told-lookup.ts";
import { RequestError } from "../requests/request-error.ts";
import { personId } from "./people-query.ts";

/**
 * The profile at the address of a person.
 * @throws {RequestError} 404 if there is nobody
 */
export async function personAt(profiles: Profiles, req: Request<{ id: string }>, res: Response): Promise<Profile> {
  const id = personId(req.params.id);
  const profile = id === undefined ? undefined : await toldLookup(profiles, id, res);
  if (!profile) throw new RequestError(404, "not-found", "There is nobody at this address.");
  return profile;
}
