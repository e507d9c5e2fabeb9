import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import { readMigrationConfig } from "./config.ts";
import { DatabaseUnavailable, openDatabase } from "./database/connection.ts";
import { migrateToLatest } from "./database/migrations.ts";
import { seed } from "./database/seeds.ts";
import type { Database } from "./database/tables.ts";
import { reasonsOf } from "./reasons.ts";

const startUpMs = 30_000;
const retryMs = 250;

/** Brings the database's tables up to date and adds the demo accounts. Run it as often as you like. */
async function migrate(): Promise<void> {
  const { databaseUrl } = readMigrationConfig(process.env);
  // Migrations may take their time, and wait for another that is running; one connection is all they need.
  const database = openDatabase({ url: databaseUrl, poolSize: 1, statementTimeoutMs: 60_000 });
  try {
    await untilAvailable(database);
    await migrateToLatest(database);
    await seed(database);
  } finally {
    await database.destroy();
  }
}

/** A database that starts beside this process needs a moment until it accepts connections. */
async function untilAvailable(database: Database): Promise<void> {
  const giveUpAt = performance.now() + startUpMs;
  for (;;) {
    try {
      await sql`select 1`.execute(database);
      return;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable) || performance.now() > giveUpAt) throw error;
      await delay(retryMs);
    }
  }
}

try {
  await migrate();
} catch (error) {
  console.error(`The database was not brought up to date. ${reasonsOf(error)}`);
  process.exitCode = 1;
}
