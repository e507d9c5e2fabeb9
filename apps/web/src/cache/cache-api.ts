import { Router } from "express";
import type { CacheFigures } from "./cache-figures.ts";

/** `GET /cache`: what the cache has done on this server. */
export function cacheApi(figures: () => Promise<CacheFigures>): Router {
  const router = Router();

  router.get("/cache", async (_req, res) => {
    res.json(await figures());
  });

  return router;
}
