import { type Near, type RedisClient, type Sender, claimOf, nearProtocol } from "@lockstep/redis-kit";
import { SessionStoreError } from "./errors.ts";

/** After a look that found copies, or that failed, how long none is made. */
const pauseMs = 5_000;

/**
 * Whether other servers keep near copies of this engine's sessions, and would not be told when it writes one. It is looked at once, when the
 * engine is first used: of engines that run already none is seen.
 */
export class ForeignCopies {
  readonly #commands: Sender<RedisClient>;
  readonly #key: string;
  readonly #near: Near | undefined;
  readonly #onDanger: (error: SessionStoreError) => void;
  readonly #onClear: () => void;
  #isClear = false;
  #danger: string | undefined;
  #looking: Promise<void> | undefined;
  #lookAgainAt = -Infinity;

  /**
   * @param key where the others say so
   * @param parts `near`: this server's own membership
   */
  constructor(
    key: string,
    parts: {
      commands: Sender<RedisClient>;
      near: Near | undefined;
      onDanger: (error: SessionStoreError) => void;
      /** Called once, when it is known that there are none. */
      onClear?: () => void;
    },
  ) {
    this.#key = key;
    this.#commands = parts.commands;
    this.#near = parts.near;
    this.#onDanger = parts.onDanger;
    this.#onClear = parts.onClear ?? (() => undefined);
  }

  /**
   * To be called with each birth, which goes on meanwhile: nobody has a copy of what is not there yet.
   *
   * @throws {@link SessionStoreError} `UNSAFE_REDIS`, where copies were found at the last look
   */
  checkBirth(): void {
    this.check()?.catch(() => undefined);
    if (this.#danger !== undefined) throw unsafe(this.#danger);
  }

  /**
   * To be called with each load and each other write, and waited for: by a write before it is sent, by a load before it is answered.
   *
   * @returns `undefined`: there is nothing to wait for
   * @throws {@link SessionStoreError} `UNSAFE_REDIS`, by its promise
   */
  check(): Promise<void> | undefined {
    if (this.#isClear) return undefined;
    if (!this.#looking && performance.now() < this.#lookAgainAt) return this.#verdict();
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking.then(() => this.#verdict());
  }

  /** Never fails: a Redis that can't be asked is the command's own matter. */
  async #look(): Promise<void> {
    try {
      const claim = await claimOf(this.#commands, this.#key);
      this.#note(claim);
    } catch {
      this.#lookAgainAt = performance.now() + pauseMs;
    }
  }

  #note(claim: Awaited<ReturnType<typeof claimOf>>): void {
    const before = this.#danger;
    this.#danger = undefined;
    this.#isClear = !claim || (claim.group === this.#near?.group && claim.version === nearProtocol);
    if (this.#isClear) this.#onClear();
    if (this.#isClear || !claim) return;
    this.#lookAgainAt = performance.now() + pauseMs;
    const theirs = `Other servers keep near copies of these sessions, in the group "${claim.group}" (protocol ${claim.version}).`;
    this.#danger = `${theirs} What this one writes, which is in no such group, would leave them stale.`;
    if (this.#danger !== before) this.#onDanger(unsafe(this.#danger));
  }

  /** Each its own: with its own trace. */
  #verdict(): Promise<void> | undefined {
    return this.#danger === undefined ? undefined : Promise.reject(unsafe(this.#danger));
  }
}

function unsafe(message: string): SessionStoreError {
  return new SessionStoreError("UNSAFE_REDIS", message);
}
