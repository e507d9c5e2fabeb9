import { Router } from "express";
import type { Database } from "../database/tables.ts";
import { RequestError } from "../requests/request-error.ts";
import { requireValid } from "../requests/validation.ts";
import { endSession, startSession } from "../sessions/signed-in.ts";
import { signIn, signUp, type Account } from "./accounts.ts";

/** `POST /sign-up`, `/sign-in` and `/sign-out`. */
export function accountsApi(database: Database): Router {
  const router = Router();

  router.post("/sign-up", async (req, res) => {
    const account = requireValid(await signUp(database, req.body));
    await startSession(req, account);
    res.status(201).json(publicPart(account));
  });

  router.post("/sign-in", async (req, res) => {
    const account = requireValid(await signIn(database, req.body));
    if (account === "wrong-credentials") throw new RequestError(401, account, "Wrong username or password.");
    await startSession(req, account);
    res.json(publicPart(account));
  });

  router.post("/sign-out", async (req, res) => {
    await endSession(req, res);
    res.status(204).end();
  });

  return router;
}

function publicPart({ username, name }: Account) {
  return { username, name };
}
