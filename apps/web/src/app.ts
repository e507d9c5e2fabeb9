import { fileURLToPath } from "node:url";
import express, { Router, type Express, type Request, type RequestHandler, type Response } from "express";
import helmet from "helmet";
import { accountsApi } from "./accounts/accounts-api.ts";
import { accountsPages } from "./accounts/accounts-pages.tsx";
import type { AccountStores } from "./accounts/accounts.ts";
import { openAttempts } from "./accounts/attempts.ts";
import { cacheApi } from "./cache/cache-api.ts";
import { cacheFigures, type CacheFigures } from "./cache/cache-figures.ts";
import { cachePages } from "./cache/cache-pages.tsx";
import { cartApi } from "./cart/cart-api.ts";
import { cartPages } from "./cart/cart-pages.tsx";
import { type Config, sharedTierName } from "./config.ts";
import { health, type Parts } from "./health/health.ts";
import { peopleApi } from "./people/people-api.ts";
import { peoplePages } from "./people/people-pages.tsx";
import { preferencesApi } from "./preferences/preferences-api.ts";
import { preferencesPages } from "./preferences/preferences-pages.tsx";
import { profilesApi } from "./profiles/profiles-api.ts";
import { profilesPages } from "./profiles/profiles-pages.tsx";
import type { ProfileViews } from "./profiles/profile-views.ts";
import { openProfiles, type Profiles } from "./profiles/profiles.ts";
import { formBody, jsonBody } from "./requests/body.ts";
import { refuseCrossSite } from "./requests/cross-site.ts";
import { apiErrors, notFound } from "./requests/error-answer.ts";
import { servedBy } from "./servers/served-by.ts";
import { serversPages } from "./servers/servers-pages.tsx";
import { sessionFailure } from "./sessions/session-failure.ts";
import { sessionStack } from "./sessions/session-stack.ts";
import { errorPages } from "./views/error-pages.tsx";
import { pageSender, type SendPage } from "./views/send-page.tsx";

/** One web server. What it shares with the others is in `parts`: it keeps nothing of a user to itself. */
export function createApp(config: Config, parts: Parts): Express {
  const sendPage = pageSender(config);
  const { database, views } = parts;
  const stores = {
    database,
    attempts: openAttempts(parts.stateRedis, config.sessionSecrets[0] ?? ""),
    views,
    profiles: openProfiles(parts, { writePolicy: config.profileWrites, tier: sharedTierName(config) }),
  };
  const figures = () => cacheFigures(parts, config);
  const app = express();
  app.disable("x-powered-by");
  // Answers are personal and never stored, so there is nothing to revalidate.
  app.disable("etag");
  app.set("trust proxy", config.trustedProxies);

  app.use(lastAnswer(parts), servedBy(config.serverName), securityHeaders);
  // For those who visit a server directly; nginx answers these itself, or every page would use up three servers' turns.
  app.use("/assets", express.static(fileURLToPath(new URL("../src/public", import.meta.url))));

  app.use(neverStored, health(parts), refuseCrossSite(config.publicOrigins));
  // Before the body is read: a client that sends it slowly keeps its session loaded meanwhile, as any slow work would.
  app.use(
    sessionStack({
      stack: config.sessionStack,
      client: parts.stateRedis,
      near: parts.near.sessions,
      durability: config.durability,
      secrets: config.sessionSecrets,
      onCommitError: answerUnsaved(sendPage),
    }),
  );
  app.use("/api", jsonBody, api(stores, figures), notFound, apiErrors);
  app.use(formBody, pages(config.serverName, stores, figures, sendPage), notFound);
  app.use(errorPages(sendPage));
  return app;
}

interface Stores extends AccountStores {
  readonly profiles: Profiles;
  readonly views: ProfileViews;
}

function api(stores: Stores, figures: () => Promise<CacheFigures>): Router {
  return Router().use(
    accountsApi(stores),
    profilesApi(stores.profiles),
    peopleApi(stores),
    cacheApi(figures),
    cartApi(),
    preferencesApi(),
  );
}

function pages(serverName: string, stores: Stores, figures: () => Promise<CacheFigures>, sendPage: SendPage): Router {
  return Router().use(
    serversPages(serverName, sendPage),
    accountsPages(stores, sendPage),
    profilesPages(stores.profiles, sendPage),
    peoplePages(stores, sendPage),
    cachePages(figures, sendPage),
    cartPages(sendPage),
    preferencesPages(sendPage),
  );
}

/** Answers for a handler whose session could not be stored, in the same shapes as any other failure. */
function answerUnsaved(sendPage: SendPage) {
  const answerPage = errorPages(sendPage);
  return (error: Error, req: Request, res: Response) => {
    // It was not stored, so the answer must not show it: nobody has been signed in.
    Reflect.deleteProperty(req, "session");
    // Express routes without regard to case.
    const answer = /^\/api\//i.test(req.originalUrl) ? apiErrors : answerPage;
    void answer(sessionFailure(error), req, res, () => undefined);
  };
}

/** Nothing but this site's own files: no inline script or style, no framing. */
const securityHeaders: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      formAction: ["'self'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  xFrameOptions: { action: "deny" },
  // helmet's own choice, no-referrer, makes browsers send `Origin: null` with our forms: the cross-site rule needs it.
  referrerPolicy: { policy: "same-origin" },
});

/** A server that stops closes each connection with its next answer. */
function lastAnswer({ isStopping }: Parts): RequestHandler {
  return (_req, res, next) => {
    if (isStopping()) res.set("Connection", "close");
    next();
  };
}

/** Back and reload always ask a server. */
const neverStored: RequestHandler = (_req, res, next) => {
  res.set("Cache-Control", "no-store");
  next();
};
