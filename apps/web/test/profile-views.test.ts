import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCache } from "@lockstep/cache";
import { Redis } from "ioredis";
import {
  type DatabaseConnection,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from "kysely";
import { expect, onTestFinished, test } from "vitest";
import type { Database } from "../src/database/tables.ts";
import { openProfileViews } from "../src/profiles/profile-views.ts";

/** A database that answers each query like this. */
function databaseThat(answers: () => Promise<never>): Database {
  class Driver extends DummyDriver {
    override acquireConnection(): Promise<DatabaseConnection> {
      return Promise.resolve({
        executeQuery: answers,
        // eslint-disable-next-line require-yield
        streamQuery: async function* () {
          await answers();
        },
      });
    }
  }
  return new Kysely({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new Driver(),
      createIntrospector: (connection) => new PostgresIntrospector(connection),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  });
}

/** A Redis that may be trusted with counts. */
async function startStateRedis(): Promise<Redis> {
  const directory = await mkdtemp(join(tmpdir(), "lockstep-web-"));
  const path = join(directory, "socket");
  const settings = ["--port", "0", "--unixsocket", path, "--dir", directory, "--appendonly", "yes", "--save", ""];
  const server = spawn("redis-server", settings, { stdio: "ignore" });
  const client = new Redis({ path, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on("error", () => undefined); // it is not up yet
  onTestFinished(async () => {
    client.disconnect();
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
    await rm(directory, { recursive: true, force: true });
  });
  await client.ping();
  return client;
}

async function openViews(answers: () => Promise<never>) {
  const stateCache = createCache({ client: await startStateRedis(), name: "test" });
  onTestFinished(() => {
    stateCache.close();
  });
  const reports: string[] = [];
  const report = (message: string) => {
    reports.push(message);
  };
  return { views: openProfileViews({ database: databaseThat(answers), stateCache, report }), reports };
}

test("a database that hangs makes no page wait for a count for long", async () => {
  const { views } = await openViews(() => new Promise(() => undefined));
  const askedAt = performance.now();
  expect(await Promise.all([views.count("a"), views.lookup("b")])).toEqual([undefined, undefined]);
  // Its own limit is 3 s.
  expect(performance.now() - askedAt).toBeLessThan(1_500);
});

test("a mistake in a query makes no error page of a count, and is reported", async () => {
  const { views, reports } = await openViews(() => Promise.reject(new Error("There is no such column.")));
  expect(await Promise.all([views.count("a"), views.lookup("b")])).toEqual([undefined, undefined]);
  expect(reports).toContain("A profile's views could not be counted: There is no such column.");
});
