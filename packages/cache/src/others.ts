import type { Joining, Near, Revoked } from "@lockstep/redis-kit";
import { CacheError } from "./errors.ts";

/**
 * The near copies that other servers keep of a collection: dropped before a write of this one takes effect (C2, C3) where the collection is
 * strict; where it is bounded the others are told, and not waited for. Without a group there are none.
 */
export class Others {
  readonly #near: Near | undefined;
  readonly #isStrict: boolean;
  readonly #onWaited: (ms: number) => void;

  /** @param onWaited told how long a write has waited for others */
  constructor(near: Near | undefined, coherence: "strict" | "bounded", onWaited: (ms: number) => void) {
    this.#near = near;
    this.#isStrict = coherence === "strict";
    this.#onWaited = onWaited;
  }

  /** To be called before a write begins, and given to {@link revoke}. @throws {@link CacheError} `UNAVAILABLE` */
  async joining(deadline: number): Promise<Joining | undefined> {
    if (!this.#near || !this.#isStrict) return undefined;
    // For no longer than a write waits for others: this server may be cut off for good.
    const withinMs = Math.min(this.#near.stallMs, deadline - performance.now());
    return this.#near.joining(withinMs).catch(rethrown);
  }

  /**
   * To be called when a write has begun, and before it takes effect.
   *
   * @returns `superseded`: it must begin again
   * @throws {@link CacheError} `UNAVAILABLE`, `OVERLOADED`
   */
  async revoke(joining: Joining | undefined, what: Revoked, deadline: number): Promise<"revoked" | "superseded"> {
    if (this.#near && joining) {
      const startedAt = performance.now();
      const outcome = await this.#near.revoke(joining, what, deadline - startedAt).catch(rethrown);
      this.#onWaited(performance.now() - startedAt);
      return outcome;
    }
    this.#near?.announce(what);
    return "revoked";
  }

  /**
   * To be called when entries have been dropped. In whatever joining: what an older group may have read before lapses before a newer one lets
   * anybody go on (C9).
   *
   * @throws {@link CacheError} `UNAVAILABLE`, `OVERLOADED`
   */
  async drop(what: Revoked, deadline: number): Promise<void> {
    while ((await this.revoke(await this.joining(deadline), what, deadline)) === "superseded");
  }
}

/** In a cache's terms. */
function rethrown(error: unknown): never {
  if (!(error instanceof Error) || !("code" in error)) throw error;
  const code = error.code === "OVERLOADED" ? "OVERLOADED" : "UNAVAILABLE";
  throw new CacheError(code, error.message, { cause: error });
}
