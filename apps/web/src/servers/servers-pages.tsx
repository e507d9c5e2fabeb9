import { Router } from "express";
import { HomePage } from "../views/home-page.tsx";
import type { SendPage } from "../views/send-page.tsx";

/** The first page: which server answered, and what to try. */
export function serversPages(serverName: string, sendPage: SendPage): Router {
  const router = Router();

  router.get("/", (req, res) => {
    const isSignedIn = req.session.userId !== undefined;
    sendPage(req, res, {
      title: "Several servers, one notebook",
      content: <HomePage serverName={serverName} isSignedIn={isSignedIn} />,
    });
  });

  return router;
}
