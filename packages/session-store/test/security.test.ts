import express from "express";
import { describe, expect, it } from "vitest";
import { session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

describe("a session's id", () => {
  it("is made anew for each, of 192 random bits", async () => {
    const app = express();
    app.use(session({ client, prefix: uniquePrefix(), secret: "secret" }));
    app.get("/", (req, res) => {
      res.send(req.sessionID);
    });
    const base = await serve(app);
    const ids = await Promise.all(Array.from({ length: 100 }, async () => (await new Browser(base).get("/")).text));
    expect(new Set(ids).size).toBe(100);
    for (const id of ids) expect(Buffer.from(id, "base64url")).toHaveLength(24);
    // Each of the bits is set in some and not in others: none is a constant, or the time.
    const bits = ids.map((id) =>
      [...Buffer.from(id, "base64url")].flatMap((byte) => [...Array(8).keys()].map((at) => (byte >> at) & 1)),
    );
    for (let at = 0; at < 192; at += 1) expect(new Set(bits.map((set) => set[at])).size).toBe(2);
  });
});

describe("a session's cookie", () => {
  it("may have the name of a host's own", async () => {
    const app = express().set("trust proxy", true);
    app.use(
      session({
        client,
        prefix: uniquePrefix(),
        secret: "secret",
        name: "__Host-sid",
        cookie: { secure: true, sameSite: "lax" },
      }),
    );
    app.get("/", (req, res) => {
      Object.assign(req.session, { user: "ann" });
      res.send("x");
    });
    const browser = new Browser(await serve(app));
    const { cookies } = await browser.get("/", { headers: { "X-Forwarded-Proto": "https" } });
    expect(cookies).toEqual([expect.stringMatching(/^__Host-sid=s%3A[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/)]);
  });
});
