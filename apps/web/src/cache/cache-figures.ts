import type { CollectionCounts, Latency, PayoffReport, WritePolicy } from "@lockstep/cache";
import type { Config } from "../config.ts";
import type { Parts } from "../health/health.ts";
import type { ViewFigures } from "../profiles/profile-views.ts";
import { type NearFigures, nearFigures } from "./near-copies.ts";

/** What the cache has done on one server since that started. */
export interface CacheFigures {
  readonly server: string;
  readonly profileWrites: WritePolicy;
  /** What near copies did; none where NEAR_COPIES is off. */
  readonly near: readonly NearFigures[];
  readonly collections: readonly CollectionFigures[];
  readonly views: ViewFigures;
}

export interface CollectionFigures {
  readonly type: string;
  /** The part of the reads that needed no load, from 0 to 1; null before the first. */
  readonly hitRate: number | null;
  readonly counts: CollectionCounts;
  /** How long a trip took. */
  readonly latency: { readonly shared: Latency; readonly database: Latency };
  /** Whether the cache pays. */
  readonly report: PayoffReport;
}

export async function cacheFigures(
  { cache, near, views }: Pick<Parts, "cache" | "near" | "views">,
  { serverName, profileWrites }: Config,
): Promise<CacheFigures> {
  const collections = cache.collections().flatMap((collection): CollectionFigures[] => {
    const report = collection.report?.();
    if (report === undefined) return [];
    const { shared, source } = collection.latency();
    const latency = { shared, database: source };
    return [{ type: collection.type, hitRate: report.hitRate, counts: collection.counts(), latency, report }];
  });
  return {
    server: serverName,
    profileWrites,
    near: nearFigures(near),
    collections,
    views: await views.figures(),
  };
}
