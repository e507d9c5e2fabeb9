import express from "express";
import request from "supertest";
import { expect, test } from "vitest";
import { tellSources } from "../src/profiles/told-lookup.ts";

const redis = { from: "redis" } as const;
const database = { from: "database" } as const;

test.for([
  { found: [redis], told: "redis" },
  { found: [redis, redis], told: "redis" },
  { found: [database, database], told: "database" },
  { found: [database, redis, redis], told: "redis=2, database=1" },
  { found: [], told: undefined },
])("an answer tells where its profiles were: $told", async ({ found, told }) => {
  const app = express().get("/", (_req, res) => {
    tellSources(res, found);
    res.end();
  });
  expect((await request(app).get("/")).headers["x-cache"]).toBe(told);
});
