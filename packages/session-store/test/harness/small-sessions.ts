import type { Express, Request, Response } from "express";
import type { Redis } from "ioredis";
import { expect } from "vitest";
import { type SessionOptions, session } from "../../src/index.ts";
import { Browser } from "./app.ts";
import { uniquePrefix } from "./redis.ts";

declare module "express-session" {
  interface SessionData {
    n: number;
    user: string;
  }
}

/** Sessions of which none that is larger than this can be stored: an answer that is not held back shows. */
export const maxBytes = 400;

/** Middleware with such sessions. */
export function smallSessions(client: Redis, options: Partial<SessionOptions> & { readonly prefix?: string } = {}) {
  return session({ client, prefix: uniquePrefix(), secret: "s", maxBytes, unset: "destroy", ...options });
}

export type Handler = (request: Request, response: Response) => void;

export const store: Handler = (request, response) => {
  request.session.user = "ann";
  response.send(request.sessionID);
};
export const tell: Handler = (request, response) =>
  void response.json([request.sessionID, request.session.user ?? null]);
export const refuse: Handler = (request, response) => {
  request.session.user = "x".repeat(maxBytes);
  response.send("stored");
};

/** Gives an app these routes. */
export function routes(app: Express): Express {
  return app.get("/store", store).get("/tell", tell).get("/refuse", refuse);
}

/** What an app does that keeps sessions, and lets no answer overtake its session (S4). */
export async function expectSessions(base: string): Promise<void> {
  const browser = new Browser(base);
  const id = (await browser.get("/store")).text;
  expect(await browser.json("/tell")).toEqual([id, "ann"]);
  expect(await browser.get("/refuse")).toMatchObject({ status: 500, cookies: [] });
  expect(await browser.json("/tell")).toEqual([id, "ann"]);
}
