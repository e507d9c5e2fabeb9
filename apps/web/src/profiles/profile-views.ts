import { CacheError, type Backlog, type Cache } from "@lockstep/cache";
import { DatabaseUnavailable } from "../database/connection.ts";
import type { Database } from "../database/tables.ts";
import { loadViews, saveViews } from "./view-rows.ts";

/** How long a count stays in Redis once the database has it. */
const ttlMs = 10 * 60 * 1_000;

/** What became of what was counted. */
export interface ViewFigures {
  /** By this server, since it started. */
  readonly accepted: number;
  readonly savedRows: number;
  readonly saves: number;
  readonly failedSaves: number;
  /** What all servers together have still to save; null while Redis can't tell. */
  readonly backlog: Backlog | null;
}

/** How often profiles were looked at. Counted in Redis at once, on all servers; saved in the database a second later. */
export interface ProfileViews {
  /** Counts one more, and returns how many there are; undefined if it could not be counted: nobody's page waits for that. */
  count(id: string): Promise<number | undefined>;
  /** How many there are; undefined if that can't be told. */
  lookup(id: string): Promise<number | undefined>;
  figures(): Promise<ViewFigures>;
  /** Saves what waits to be saved, for so long; what is left another server saves. */
  drain(options: { readonly timeoutMs: number }): Promise<void>;
}

/** @param parts `stateCache`: a cache on the Redis that loses nothing */
export function openProfileViews({ database, stateCache }: { database: Database; stateCache: Cache }): ProfileViews {
  const views = stateCache.collection<number>("views", {
    writePolicy: "write-behind",
    loadMany: (ids) => loadViews(database, ids),
    save: (batch, { deadline }) => saveViews(database, batch, deadline),
    ttlMs,
  });
  return {
    count: (id) => orUnknown(views.increment(id)),
    lookup: async (id) => orUnknown(views.get(id).then((count) => count ?? 0)),
    figures: async () => {
      const { accepted, savedRows, saves, failedSaves } = views.counts();
      return { accepted, savedRows, saves, failedSaves, backlog: (await orUnknown(views.backlog())) ?? null };
    },
    drain: async (options) => {
      await orUnknown(views.drain(options));
    },
  };
}

/** What is not worth an error page; the outage behind it is reported elsewhere. */
async function orUnknown<T>(wanted: Promise<T>): Promise<T | undefined> {
  try {
    return await wanted;
  } catch (error) {
    if (error instanceof CacheError || error instanceof DatabaseUnavailable) return undefined;
    throw error;
  }
}
