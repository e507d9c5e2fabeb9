import { Router } from "express";
import { formText } from "../requests/body.ts";
import { endSession, startSession } from "../sessions/signed-in.ts";
import { seeChange, type SendPage } from "../views/send-page.tsx";
import { SignInPage } from "../views/sign-in-page.tsx";
import { SignUpPage } from "../views/sign-up-page.tsx";
import { signIn, signUp, type AccountStores } from "./accounts.ts";
import { sent } from "./sent.ts";

/** Sign up, sign in, sign out. */
export function accountsPages(stores: AccountStores, sendPage: SendPage): Router {
  const router = Router();

  router.get("/sign-up", (req, res) => {
    sendPage(req, res, { title: "Open an account", content: <SignUpPage /> });
  });

  router.post("/sign-up", async (req, res) => {
    const account = await signUp(stores, sent(req));
    if (!account.valid) {
      const content = <SignUpPage username={formText(req.body, "username")} messages={account.fields} />;
      sendPage(req, res, { status: 422, title: "Open an account", content });
      return;
    }
    await startSession(req, account.value);
    seeChange(res, "/profile");
  });

  router.get("/sign-in", (req, res) => {
    sendPage(req, res, { title: "Sign in", content: <SignInPage /> });
  });

  router.post("/sign-in", async (req, res) => {
    const username = formText(req.body, "username");
    const account = await signIn(stores, sent(req));
    if (!account.valid) {
      const content = <SignInPage username={username} messages={account.fields} />;
      sendPage(req, res, { status: 422, title: "Sign in", content });
    } else if (account.value === "wrong-credentials") {
      const content = <SignInPage username={username} problem="Wrong username or password." />;
      sendPage(req, res, { status: 401, title: "Sign in", content });
    } else {
      await startSession(req, account.value);
      seeChange(res, "/profile");
    }
  });

  router.post("/sign-out", async (req, res) => {
    await endSession(req, res);
    res.redirect(303, "/");
  });

  return router;
}
