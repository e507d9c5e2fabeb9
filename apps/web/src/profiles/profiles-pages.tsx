import { Router } from "express";
import { formText } from "../requests/body.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { ProfileFormPage } from "../views/profile-form-page.tsx";
import { ProfilePage } from "../views/profile-page.tsx";
import { seeChange, type SendPage } from "../views/send-page.tsx";
import { changeCurrentProfile, currentProfile } from "./current-profile.ts";
import type { Profiles } from "./profiles.ts";

/** One's own profile, and the form that changes it. */
export function profilesPages(profiles: Profiles, sendPage: SendPage): Router {
  const router = Router();

  router.get("/profile", async (req, res) => {
    const profile = await currentProfile(profiles, req, res);
    const content = <ProfilePage profile={profile} eyebrow={signedIn(req).username} isOwn />;
    sendPage(req, res, { title: profile.name, content });
  });

  router.get("/profile/edit", async (req, res) => {
    const profile = await currentProfile(profiles, req, res);
    sendPage(req, res, { title: "Edit profile", content: <ProfileFormPage {...profile} /> });
  });

  router.post("/profile/edit", async (req, res) => {
    const changed = await changeCurrentProfile(profiles, req);
    if (changed.valid) {
      seeChange(res, "/profile");
      return;
    }
    const sent = {
      name: formText(req.body, "name"),
      headline: formText(req.body, "headline"),
      city: formText(req.body, "city"),
      bio: formText(req.body, "bio"),
    };
    const content = <ProfileFormPage {...sent} messages={changed.fields} />;
    sendPage(req, res, { status: 422, title: "Edit profile", content });
  });

  return router;
}
