import { Router } from "express";
import { RequestError } from "../requests/request-error.ts";
import { requireValid } from "../requests/validation.ts";
import { endSession, startSession } from "../sessions/signed-in.ts";
import { signIn, signUp, type Account, type AccountStores } from "./accounts.ts";
import { sent } from "./sent.ts";

/** `POST /sign-up`, `/sign-in` and `/sign-out`. */
export function accountsApi(stores: AccountStores): Router {
  const router = Router();

  router.post("/sign-up", async (req, res) => {
    const account = requireValid(await signUp(stores, sent(req)));
    await startSession(req, account);
    res.status(201).json(publicPart(account));
  });

  router.post("/sign-in", async (req, res) => {
    const account = requireValid(await signIn(stores, sent(req)));
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
