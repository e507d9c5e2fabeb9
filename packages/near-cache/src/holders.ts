import type { CopyHolder, Revoked } from "@lockstep/redis-kit";

/** All that keep near copies under one membership. */
export class Holders {
  readonly #holders = new Set<CopyHolder>();

  add(holder: CopyHolder): () => void {
    this.#holders.add(holder);
    return () => {
      this.#holders.delete(holder);
    };
  }

  /** C5. */
  drop(what: Revoked | undefined): void {
    if (what === undefined) {
      this.empty();
      return;
    }
    for (const holder of this.#holders) {
      if ("start" in what) holder.revokeAll(what.start);
      else for (const key of what.keys) holder.revoke(key);
    }
  }

  empty(): void {
    for (const holder of this.#holders) holder.empty();
  }

  get size(): number {
    return this.#sum(({ size }) => size);
  }

  get bytes(): number {
    return this.#sum(({ bytes }) => bytes);
  }

  #sum(of: (holder: CopyHolder) => number): number {
    return [...this.#holders].reduce((sum, holder) => sum + of(holder), 0);
  }
}
