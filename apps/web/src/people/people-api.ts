import { Router } from "express";
import type { Database } from "../database/tables.ts";
import type { ProfileViews } from "../profiles/profile-views.ts";
import type { Profiles } from "../profiles/profiles.ts";
import { requireValid } from "../requests/validation.ts";
import { readPage } from "./directory.ts";
import { checkPeopleQuery, peoplePath } from "./people-query.ts";
import { seePersonAt } from "./person-at.ts";

/** `GET /people`: a page of the directory. `GET /people/:id`: one person. */
export function peopleApi(parts: { database: Database; profiles: Profiles; views: ProfileViews }): Router {
  const router = Router();

  router.get("/people", async (req, res) => {
    const { people, previous, next } = await readPage(parts, requireValid(checkPeopleQuery(req.query)), res);
    res.json({
      people,
      previous: previous && `/api${peoplePath(previous)}`,
      next: next && `/api${peoplePath(next)}`,
    });
  });

  router.get("/people/:id", async (req, res) => {
    const { profile, views } = await seePersonAt(parts, req, res);
    res.json({ ...profile, views });
  });

  return router;
}
