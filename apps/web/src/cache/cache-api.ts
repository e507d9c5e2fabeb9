import { Router } from "express";
import type { CacheFigures } from "./cache-figures.ts";

/** `GET /cache`: what the cache has done on this server. */
export function cacheApi(figures: () => CacheFigures): Router {
  const router = Router();

  router.get("/cache", (_req, res) => {
    res.json(figures());
  });

  return router;
}
