import { Router } from "express";
import type { Database } from "../database/tables.ts";
import type { ProfileViews } from "../profiles/profile-views.ts";
import type { Profiles } from "../profiles/profiles.ts";
import { formText } from "../requests/body.ts";
import { PeoplePage } from "../views/people-page.tsx";
import { ProfilePage } from "../views/profile-page.tsx";
import type { SendPage } from "../views/send-page.tsx";
import { readPage } from "./directory.ts";
import { checkPeopleQuery } from "./people-query.ts";
import { seePersonAt } from "./person-at.ts";

/** The directory, page by page or searched, and each person in it. */
export function peoplePages(
  parts: { database: Database; profiles: Profiles; views: ProfileViews },
  sendPage: SendPage,
): Router {
  const router = Router();

  router.get("/people", async (req, res) => {
    const query = checkPeopleQuery(req.query);
    if (query.valid) {
      const page = await readPage(parts, query.value, res);
      const content = <PeoplePage {...page} q={query.value.q} userId={req.session.userId} />;
      sendPage(req, res, { title: "People", content });
      return;
    }
    const content = <PeoplePage q={formText(req.query, "q")} messages={query.fields} />;
    sendPage(req, res, { status: 422, title: "People", content });
  });

  router.get("/people/:id", async (req, res) => {
    const { profile, views } = await seePersonAt(parts, req, res);
    const isOwn = profile.id === req.session.userId;
    const content = (
      <ProfilePage profile={profile} views={views} eyebrow={<a href="/people">People</a>} isOwn={isOwn} />
    );
    sendPage(req, res, { title: profile.name, content });
  });

  return router;
}
