import type { Cache } from "@lockstep/cache";
import { Router } from "express";
import { sql } from "kysely";
import type { NearMemberships } from "../cache/near-copies.ts";
import type { Database } from "../database/tables.ts";
import type { ProfileViews } from "../profiles/profile-views.ts";
import { ping, type RedisConnection } from "../redis/connection.ts";

const deadlineMs = 2_000;

/** What readiness is asked of. */
export interface Parts {
  readonly database: Database;
  readonly stateRedis: RedisConnection;
  readonly cache: Cache;
  readonly near: NearMemberships;
  readonly views: ProfileViews;
  /** True from the moment the server has been asked to stop. */
  readonly isStopping: () => boolean;
}

/**
 * `GET /livez`: the process runs. `GET /readyz`: it can answer requests, because the state Redis and the database do. It
 * tells of the cache too, without which pages come from the database. Both need no session, so they answer while Redis
 * is down.
 */
export function health({ database, stateRedis, cache, isStopping }: Parts): Router {
  const router = Router();
  router.get("/livez", (_req, res) => {
    res.json({ status: "alive" });
  });

  router.get("/readyz", async (_req, res) => {
    if (isStopping()) {
      res.status(503).json({ status: "stopping" });
      return;
    }
    const [stateRedisAnswers, databaseAnswers, cacheAnswers] = await Promise.all([
      answers(ping(stateRedis)),
      answers(sql`select 1`.execute(database)),
      answers(cache.ready()),
    ]);
    const isReady = stateRedisAnswers && databaseAnswers;
    const parts = { stateRedis: stateRedisAnswers, database: databaseAnswers, cache: cacheAnswers };
    res.status(isReady ? 200 : 503).json({
      status: isReady ? "ready" : "not-ready",
      parts: Object.fromEntries(Object.entries(parts).map(([part, isUp]) => [part, isUp ? "up" : "down"])),
    });
  });

  return router;
}

/** Whether a part answers within the deadline; the question itself is bounded by the part's own timeouts. */
async function answers(question: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, deadlineMs, false);
  });
  const answered = question.then(
    () => true,
    () => false,
  );
  const result = await Promise.race([answered, tooLate]);
  clearTimeout(timer);
  return result;
}
