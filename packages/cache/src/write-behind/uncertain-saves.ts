import type { TakenRow } from "../flush-scripts.ts";

/**
 * What the source may still save, by row, where a save has failed: one that has thrown, because a connection was lost for instance, may
 * be done by its deadline all the same.
 */
export class UncertainSaves {
  readonly #rows = new Map<string, { readonly version: string; readonly until: number }>();

  /** @param until on the clock of `performance.now()` */
  add(rows: readonly TakenRow[], until: number): void {
    for (const { row, version } of rows) this.#rows.set(row, { version, until });
  }

  /** For how long a row must not be saved, in ms: trying the same value again does no harm. */
  waitMs({ row, version }: TakenRow): number {
    const now = performance.now();
    for (const [each, { until }] of this.#rows) if (until < now) this.#rows.delete(each);
    const uncertain = this.#rows.get(row);
    return uncertain === undefined || uncertain.version === version ? 0 : uncertain.until - now;
  }

  /** Until when any of it may be done; 0: there is none. */
  get until(): number {
    return Math.max(0, ...[...this.#rows.values()].map(({ until }) => until));
  }
}
