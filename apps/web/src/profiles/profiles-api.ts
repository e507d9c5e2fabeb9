import { Router } from "express";
import type { Database } from "../database/tables.ts";
import { requireValid } from "../requests/validation.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { currentProfile } from "./current-profile.ts";
import { updateProfile } from "./profiles.ts";

/** `GET /me`, `GET` and `PATCH /profile`: always as the database has it. */
export function profilesApi(database: Database): Router {
  const router = Router();

  router.get("/me", async (req, res) => {
    const { username, name } = await currentProfile(database, req);
    res.json({ username, name });
  });

  router.get("/profile", async (req, res) => {
    const { username, name, bio } = await currentProfile(database, req);
    res.json({ username, name, bio });
  });

  router.patch("/profile", async (req, res) => {
    requireValid(await updateProfile(database, signedIn(req).userId, req.body));
    const { username, name, bio } = await currentProfile(database, req);
    res.json({ username, name, bio });
  });

  return router;
}
