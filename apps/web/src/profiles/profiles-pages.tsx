import { Router } from "express";
import type { Database } from "../database/tables.ts";
import { formText } from "../requests/body.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { ProfileFormPage } from "../views/profile-form-page.tsx";
import { ProfilePage } from "../views/profile-page.tsx";
import { seeChange, type SendPage } from "../views/send-page.tsx";
import { currentProfile } from "./current-profile.ts";
import { updateProfile } from "./profiles.ts";

/** The profile, and the form that changes it. */
export function profilesPages(database: Database, sendPage: SendPage): Router {
  const router = Router();

  router.get("/profile", async (req, res) => {
    const profile = await currentProfile(database, req);
    sendPage(req, res, { title: profile.name, content: <ProfilePage {...profile} /> });
  });

  router.get("/profile/edit", async (req, res) => {
    const { name, bio } = await currentProfile(database, req);
    sendPage(req, res, { title: "Edit profile", content: <ProfileFormPage name={name} bio={bio} /> });
  });

  router.post("/profile/edit", async (req, res) => {
    const updated = await updateProfile(database, signedIn(req).userId, req.body);
    if (updated.valid) {
      seeChange(res, "/profile");
      return;
    }
    const sent = { name: formText(req.body, "name"), bio: formText(req.body, "bio") };
    const content = <ProfileFormPage {...sent} messages={updated.fields} />;
    sendPage(req, res, { status: 422, title: "Edit profile", content });
  });

  return router;
}
