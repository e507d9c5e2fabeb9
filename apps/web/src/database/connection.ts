import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from "kysely";
import pg from "pg";
import { RequestError } from "../requests/request-error.ts";
import type { Database } from "./tables.ts";

/** How long one statement may take. The database itself ends it then; PGlite, in development and tests, does not. */
const defaultStatementTimeoutMs = 3_000;

/** The database could not be reached or did not answer in time; a statement under way may or may not have run. */
export class DatabaseUnavailable extends RequestError {
  constructor(cause: unknown) {
    super(503, "database-unavailable", "The database does not answer. Try again in a moment.", { cause });
    this.name = "DatabaseUnavailable";
  }
}

/**
 * Opens a pool of at most `poolSize` connections, made as they are needed. Waiting for a connection and waiting for an
 * answer are both bounded, so that a dead database is a {@link DatabaseUnavailable} and not a page that never comes.
 */
export function openDatabase(options: { url: string; poolSize: number; statementTimeoutMs?: number }): Database {
  const { url, poolSize, statementTimeoutMs = defaultStatementTimeoutMs } = options;
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: 3_000,
    statement_timeout: statementTimeoutMs,
    // PostgreSQL cannot report its timeout over a dead link, so the client keeps one too, a little longer.
    query_timeout: statementTimeoutMs + 500,
  });
  // The pool replaces an idle connection that broke; without a listener the event would end the process.
  pool.on("error", () => undefined);
  return new Kysely({ dialect: new PostgresDialect({ pool: tellOutages(pool) }) });
}

/**
 * Runs one statement that must have happened by a deadline, on the clock of `performance.now()`, or never. It begins only
 * while the database's own statement timeout ends before that. So neither a long wait for a connection nor one for a lock
 * makes it late; only the network may, by holding it back on its way.
 *
 * @throws {DatabaseUnavailable} if there was no connection in time: it has not run
 */
export function withinDeadline<T>(
  database: Database,
  deadline: number,
  statement: (connection: Database) => Promise<T>,
): Promise<T> {
  return database.connection().execute((connection) => {
    if (performance.now() + defaultStatementTimeoutMs <= deadline) return statement(connection);
    throw new DatabaseUnavailable(new Error("There was no connection in time for a statement to meet its deadline."));
  });
}

function tellOutages(pool: pg.Pool): PostgresPool {
  return {
    connect: async () => {
      try {
        return tellOutagesOf(await pool.connect());
      } catch (error) {
        throw isOutage(error) ? new DatabaseUnavailable(error) : error;
      }
    },
    end: () => pool.end(),
  };
}

function tellOutagesOf(client: pg.PoolClient): PostgresPoolClient {
  let failed = false;
  // The pool listens to idle connections only. One that breaks while it is in use, with no statement under way, would end the process.
  const onError = () => {
    failed = true;
  };
  client.on("error", onError);
  const query = async (sql: string, parameters: unknown[]) => {
    try {
      return await client.query(sql, parameters);
    } catch (error) {
      if (!isOutage(error)) throw error;
      failed = true;
      throw new DatabaseUnavailable(error);
    }
  };
  return {
    // kysely's other form of `query`, with a cursor, is for streams.
    query: query as unknown as PostgresPoolClient["query"],
    // After a timeout the connection may still be busy with the lost statement, so it is closed, not reused.
    release: () => {
      client.off("error", onError);
      client.release(failed);
    },
  };
}

/**
 * PostgreSQL's own errors are outages in the classes connection (08), resources (53) and intervention (57); the others
 * are mistakes in the statement. What pg throws of its own is about sockets and timeouts.
 */
function isOutage(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || /^(08|53|57)/.test(error.code ?? "");
}
