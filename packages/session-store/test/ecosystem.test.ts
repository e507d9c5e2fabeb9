import flash from "connect-flash";
import { csrfSync } from "csrf-sync";
import express5, { type Express, type NextFunction, type Request, type Response } from "express";
import express4 from "express4";
import passport from "passport";
import { Strategy } from "passport-local";
import { describe, expect, it } from "vitest";
import { session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { livingKeys, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

/** Answers with the error, or with what `answer` makes. */
const told =
  (response: Response, next: NextFunction, answer: () => unknown) =>
  (error?: unknown): void => {
    if (error) next(error);
    else response.json(answer() ?? null);
  };

describe.each([
  ["Express 5", express5],
  ["Express 4", express4],
])("on %s, session()", (_name, express) => {
  async function start(routes: (app: Express) => void) {
    const prefix = uniquePrefix();
    const app = express();
    app.use(express.urlencoded({ extended: false }));
    app.use(session({ client, prefix, secret: "s" }));
    routes(app);
    const base = await serve(app);
    return { browser: new Browser(base), other: new Browser(base), keys: () => livingKeys(client, prefix) };
  }

  const form = (fields: Record<string, string>): RequestInit => ({
    method: "POST",
    body: new URLSearchParams(fields),
  });

  describe("passport", () => {
    /** Signs in anybody who gives the password `right`. */
    function withPassport(app: Express, authenticator = new passport.Passport()): void {
      authenticator.use(
        new Strategy((name, password, done) => {
          if (password === "right") done(null, { name });
          else done(null, false, { message: "wrong password" });
        }),
      );
      authenticator.serializeUser((user, done) => done(null, (user as { name: string }).name));
      authenticator.deserializeUser((name: string, done) => done(null, { name }));
      app.use(flash());
      app.use(authenticator.session());
      const answers = { successRedirect: "/me", failureRedirect: "/failed", failureFlash: true };
      app.post("/sign-in", authenticator.authenticate("local", answers) as express5.RequestHandler);
      app.post(
        "/sign-in-keeping",
        authenticator.authenticate("local", { ...answers, keepSessionInfo: true }) as express5.RequestHandler,
      );
      app.post("/sign-out", (request, response, next) => {
        request.logout(told(response, next, () => request.isAuthenticated()));
      });
      app.post("/sign-out-keeping", (request, response, next) => {
        request.logout(
          { keepSessionInfo: true },
          told(response, next, () => request.isAuthenticated()),
        );
      });
      app.get("/me", (request, response) => {
        const { cart } = request.session;
        response.json({ user: (request.user as { name?: string } | undefined)?.name, cart });
      });
      app.get("/failed", (request, response) => void response.json(request.flash("error")));
      app.get("/fill", (request, response) => {
        request.session.cart = ["tea"];
        response.json(null);
      });
    }

    it("signs in under a new id, stays signed in, and signs out: the cookies before are dead", async () => {
      const { browser, other, keys } = await start(withPassport);
      await browser.get("/fill");
      const anonymous = browser.cookie;
      expect(await browser.get("/sign-in", form({ username: "alice", password: "right" }))).toMatchObject({
        status: 302,
        cookies: [expect.stringMatching(/^connect\.sid=s%3A/)],
      });
      expect(browser.cookie).not.toBe(anonymous);
      expect(await browser.json("/me")).toEqual({ user: "alice" });
      // Session fixation: whoever has planted the cookie of before is not signed in.
      other.cookie = anonymous;
      expect(await other.json("/me")).toEqual({});
      const signedIn = browser.cookie;
      expect((await browser.get("/sign-out", { method: "POST" })).text).toBe("false");
      expect(await browser.json("/me")).toEqual({});
      other.cookie = signedIn;
      expect(await other.json("/me")).toEqual({});
      expect(await keys()).toHaveLength(1);
    });

    it("keeps what the session held, where it is asked to", async () => {
      const { browser } = await start(withPassport);
      await browser.get("/fill");
      const before = browser.cookie;
      await browser.get("/sign-in-keeping", form({ username: "alice", password: "right" }));
      expect(browser.cookie).not.toBe(before);
      expect(await browser.json("/me")).toEqual({ user: "alice", cart: ["tea"] });
      await browser.get("/sign-out-keeping", { method: "POST" });
      expect(await browser.json("/me")).toEqual({ cart: ["tea"] });
    });

    it("does not sign in with a wrong password, and the page after the redirect says why", async () => {
      const { browser } = await start(withPassport);
      const { status, headers } = await browser.get("/sign-in", form({ username: "alice", password: "wrong" }));
      expect({ status, location: headers.get("location") }).toEqual({ status: 302, location: "/failed" });
      expect(await browser.json("/failed")).toEqual(["wrong password"]);
      expect(await browser.json("/failed")).toEqual([]);
    });
  });

  it("connect-flash shows each message once, on the page after the redirect", async () => {
    const { browser } = await start((app) => {
      app.use(flash());
      app.post("/save", (request, response) => {
        request.flash("info", "saved");
        request.flash("info", "and sent");
        response.redirect("/page");
      });
      app.get("/page", (request, response) => void response.json(request.flash("info")));
    });
    await browser.get("/save", { method: "POST" });
    expect(await browser.json("/page")).toEqual(["saved", "and sent"]);
    expect(await browser.json("/page")).toEqual([]);
  });

  it("csrf-sync lets a form through with its session's token, and no other", async () => {
    const { csrfSynchronisedProtection, generateToken } = csrfSync({
      getTokenFromRequest: (request: Request) => (request.body as { token?: string } | undefined)?.token,
    });
    const { browser, other } = await start((app) => {
      app.get("/form", (request, response) => void response.send(generateToken(request)));
      app.use(csrfSynchronisedProtection);
      app.post("/change", (_request, response) => void response.send("changed"));
    });
    const token = (await browser.get("/form")).text;
    const others = (await other.get("/form")).text;
    expect((await browser.get("/change", form({ token }))).text).toBe("changed");
    for (const fields of [{}, { token: "guessed" }, { token: others }]) {
      expect((await browser.get("/change", form(fields as Record<string, string>))).status).toBe(403);
    }
  });
});
