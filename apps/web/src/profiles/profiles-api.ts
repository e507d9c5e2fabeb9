import { Router } from "express";
import { requireValid } from "../requests/validation.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { changeCurrentProfile, currentProfile } from "./current-profile.ts";
import type { Profiles } from "./profiles.ts";
import { tellSources } from "./told-lookup.ts";

/** `GET /me`, `GET` and `PATCH /profile`: one's own. */
export function profilesApi(profiles: Profiles): Router {
  const router = Router();

  router.get("/me", async (req, res) => {
    const { name } = await currentProfile(profiles, req, res);
    res.json({ username: signedIn(req).username, name });
  });

  router.get("/profile", async (req, res) => {
    const profile = await currentProfile(profiles, req, res);
    res.json({ username: signedIn(req).username, ...profile });
  });

  router.patch("/profile", async (req, res) => {
    const profile = requireValid(await changeCurrentProfile(profiles, req));
    tellSources(res, [{ from: "database" }]);
    res.json({ username: signedIn(req).username, ...profile });
  });

  return router;
}
