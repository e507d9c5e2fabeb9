import { Router } from "express";
import { CachePage } from "../views/cache-page.tsx";
import type { SendPage } from "../views/send-page.tsx";
import type { CacheFigures } from "./cache-figures.ts";

/** What the cache has done on the server that answers. */
export function cachePages(figures: () => Promise<CacheFigures>, sendPage: SendPage): Router {
  const router = Router();

  router.get("/cache", async (req, res) => {
    sendPage(req, res, { title: "Cache", content: <CachePage {...await figures()} /> });
  });

  return router;
}
