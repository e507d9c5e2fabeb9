import { Router } from "express";
import { requireValid } from "../requests/validation.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { removePreference, setPreference } from "./preferences.ts";

/** `GET /preferences`, `PUT` and `DELETE /preferences/:key`. */
export function preferencesApi(): Router {
  const router = Router();

  router.get("/preferences", (req, res) => {
    res.json(signedIn(req).preferences);
  });

  router.put("/preferences/:key", (req, res) => {
    const { preferences } = signedIn(req);
    const { value } = (req.body ?? {}) as { value?: unknown };
    res.json(requireValid(setPreference(preferences, { key: req.params.key, value })));
  });

  router.delete("/preferences/:key", (req, res) => {
    requireValid(removePreference(signedIn(req).preferences, req.params));
    res.status(204).end();
  });

  return router;
}
