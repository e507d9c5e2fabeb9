import { Router } from "express";
import { sql } from "kysely";
import type { Redis } from "ioredis";
import type { Database } from "../database/tables.ts";

const deadlineMs = 2_000;

/** What readiness is asked of. */
export interface Parts {
  readonly database: Database;
  readonly stateRedis: Redis;
  /** True from the moment the server has been asked to stop. */
  readonly isStopping: () => boolean;
}

/**
 * `GET /livez`: the process runs. `GET /readyz`: it can answer requests, because the state Redis and the database do.
 * Both need no session, so they answer while Redis is down.
 */
export function health({ database, stateRedis, isStopping }: Parts): Router {
  const router = Router();
  router.get("/livez", (_req, res) => {
    res.json({ status: "alive" });
  });

  router.get("/readyz", async (_req, res) => {
    if (isStopping()) {
      res.status(503).json({ status: "stopping" });
      return;
    }
    const [stateRedisAnswers, databaseAnswers] = await Promise.all([
      answers(stateRedis.ping()),
      answers(sql`select 1`.execute(database)),
    ]);
    const isReady = stateRedisAnswers && databaseAnswers;
    res.status(isReady ? 200 : 503).json({
      status: isReady ? "ready" : "not-ready",
      parts: { stateRedis: stateRedisAnswers ? "up" : "down", database: databaseAnswers ? "up" : "down" },
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
