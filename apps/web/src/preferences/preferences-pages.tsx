import { Router } from "express";
import { formText } from "../requests/body.ts";
import { requireValid } from "../requests/validation.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { PreferencesPage } from "../views/preferences-page.tsx";
import { seeChange, type SendPage } from "../views/send-page.tsx";
import { setAppearance } from "./appearance.ts";
import { removePreference, setPreference } from "./preferences.ts";

/** The preferences, with forms to set one, to remove one, and to choose a look. */
export function preferencesPages(sendPage: SendPage): Router {
  const router = Router();

  router.get("/preferences", (req, res) => {
    const content = <PreferencesPage preferences={signedIn(req).preferences} />;
    sendPage(req, res, { title: "Preferences", content });
  });

  router.post("/preferences", (req, res) => {
    const { preferences } = signedIn(req);
    const sent = { key: formText(req.body, "key"), value: formText(req.body, "value") };
    const set = setPreference(preferences, sent);
    if (set.valid) {
      seeChange(res, "/preferences");
      return;
    }
    const content = <PreferencesPage preferences={preferences} refused={sent} messages={set.fields} />;
    sendPage(req, res, { status: 422, title: "Preferences", content });
  });

  router.post("/preferences/appearance", (req, res) => {
    requireValid(setAppearance(signedIn(req).preferences, req.body));
    seeChange(res, "/preferences");
  });

  router.post("/preferences/remove", (req, res) => {
    requireValid(removePreference(signedIn(req).preferences, req.body));
    seeChange(res, "/preferences");
  });

  return router;
}
