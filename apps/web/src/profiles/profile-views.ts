import { CacheError, type Backlog, type Cache } from "@lockstep/cache";
import { DatabaseUnavailable } from "../database/connection.ts";
import type { Database } from "../database/tables.ts";
import { reasonsOf } from "../reasons.ts";
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

/** How long a page waits for a count. */
const waitMs = 300;

/** How often profiles were looked at. Counted in Redis at once, on all servers; saved in the database a second later. */
export interface ProfileViews {
  /** Counts one more, and returns how many there are; undefined if that can't be told within 300 ms. Never throws. */
  count(id: string): Promise<number | undefined>;
  /** How many there are; undefined if that can't be told within 300 ms. Never throws. */
  lookup(id: string): Promise<number | undefined>;
  /** Never throws. */
  figures(): Promise<ViewFigures>;
  /** Saves what waits to be saved, for so long; what is left another server saves. Never throws. */
  drain(options: { readonly timeoutMs: number }): Promise<void>;
}

/** @param parts `stateCache`: a cache on the Redis that loses nothing; `report`: hears what no page shows */
export function openProfileViews({
  database,
  stateCache,
  report,
}: {
  database: Database;
  stateCache: Cache;
  report: (message: string) => void;
}): ProfileViews {
  const views = stateCache.collection<number>("views", {
    writePolicy: "write-behind",
    loadMany: (ids) => loadViews(database, ids),
    save: (batch, { deadline }) => saveViews(database, batch, deadline),
    ttlMs,
    loadTimeoutMs: waitMs,
  });

  /** What is not worth an error page. */
  const orUnknown = async <T>(wanted: Promise<T>): Promise<T | undefined> => {
    try {
      return await wanted;
    } catch (error) {
      // An outage is reported elsewhere.
      const isOutage = error instanceof CacheError || error instanceof DatabaseUnavailable;
      if (!isOutage) report(`A profile's views could not be counted: ${reasonsOf(error)}`);
      return undefined;
    }
  };
  return {
    count: (id) => soon(orUnknown(views.increment(id))),
    lookup: (id) => soon(orUnknown(views.get(id).then((count) => count ?? 0))),
    figures: async () => {
      const { accepted, savedRows, saves, failedSaves } = views.counts();
      return { accepted, savedRows, saves, failedSaves, backlog: (await soon(orUnknown(views.backlog()))) ?? null };
    },
    drain: async (options) => {
      await orUnknown(views.drain(options));
    },
  };
}

/** What is late is done all the same, and not waited for. */
async function soon<T>(wanted: Promise<T | undefined>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, waitMs, undefined);
  });
  try {
    return await Promise.race([wanted, late]);
  } finally {
    clearTimeout(timer);
  }
}
