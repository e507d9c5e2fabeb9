import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from "kysely";
import { expect, test, vi } from "vitest";
import { DatabaseUnavailable, withinDeadline } from "../src/database/connection.ts";
import type { Database } from "../src/database/tables.ts";

/** A database whose connections are there at once, and whose statements do nothing. */
const database: Database = new Kysely({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (connection) => new PostgresIntrospector(connection),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

test("a statement that the database ends before the deadline runs", async () => {
  expect(await withinDeadline(database, performance.now() + 4_000, () => Promise.resolve("done"))).toBe("done");
});

test("a statement that could still run at the deadline is not begun", async () => {
  const statement = vi.fn(() => Promise.resolve("done"));
  const late = withinDeadline(database, performance.now() + 2_990, statement);
  await expect(late).rejects.toThrow(DatabaseUnavailable);
  expect(statement).not.toHaveBeenCalled();
});
