import express from "express";
import request from "supertest";
import { expect, test } from "vitest";
import { refuseCrossSite } from "../src/requests/cross-site.ts";
import { apiErrors } from "../src/requests/error-answer.ts";

const app = express()
  .set("trust proxy", "loopback")
  .use(refuseCrossSite(["https://shop.example"]))
  .use((_req, res) => void res.status(204).end())
  .use(apiErrors);

const host = { host: "localhost:8080" };

test.for([
  { what: "a client that is no browser", headers: host },
  { what: "our own page", headers: { ...host, "sec-fetch-site": "same-origin" } },
  { what: "the user's own hand", headers: { ...host, "sec-fetch-site": "none" } },
  { what: "our own page in an old browser", headers: { ...host, origin: "http://localhost:8080" } },
  {
    what: "our own page behind a proxy with TLS",
    headers: { host: "a.example", origin: "https://a.example", "x-forwarded-proto": "https" },
  },
  { what: "a page of a configured origin", headers: { ...host, origin: "https://shop.example" } },
])("a change sent by $what is accepted", async ({ headers }) => {
  await request(app).post("/").set(headers).expect(204);
});

test.for([
  { what: "another site", headers: { ...host, "sec-fetch-site": "cross-site" } },
  { what: "a neighbour under one domain", headers: { ...host, "sec-fetch-site": "same-site" } },
  { what: "another site in an old browser", headers: { ...host, origin: "https://evil.example" } },
  { what: "a page without an origin", headers: { ...host, origin: "null" } },
  { what: "another port", headers: { ...host, origin: "http://localhost:8081" } },
  { what: "another scheme", headers: { ...host, origin: "https://localhost:8080" } },
  {
    what: "another site whose Origin is forged, which no browser lets it",
    headers: { ...host, "sec-fetch-site": "cross-site", origin: "http://localhost:8080" },
  },
])("a change sent by $what is refused", async ({ headers }) => {
  const answer = await request(app).post("/").set(headers).expect(403);
  expect(answer.body).toMatchObject({ error: { code: "cross-site" } });
});

test("reading is never refused: a link on another site may lead here", async () => {
  await request(app)
    .get("/")
    .set({ ...host, "sec-fetch-site": "cross-site" })
    .expect(204);
});
