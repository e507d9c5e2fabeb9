import type { Response } from "express";
import type { Profile } from "./profile.ts";
import type { Profiles } from "./profiles.ts";

/** Reads a profile for an answer, and tells in its `X-Cache` where the profile was. */
export async function toldLookup(profiles: Profiles, id: string, res: Response): Promise<Profile | undefined> {
  const { value, from } = await profiles.lookup(id);
  res.set("X-Cache", from);
  return value;
}
