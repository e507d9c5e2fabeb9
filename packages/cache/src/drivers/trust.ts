import type { CircuitBreaker, RedisClient } from "@lockstep/redis-kit";
import { CacheError } from "../errors.ts";
import { type OnEvent, tell } from "../events.ts";
import { clockDrift } from "../options.ts";
import type { EpochAge } from "../scripts.ts";
import { type DangerOf, Epochs } from "./epochs.ts";

/** How long a Redis that was found unsafe is left alone before it is looked at again. */
const lookAgainMs = 5_000;

/** Whether this Redis may be trusted, with marks (C8) or with what is nowhere else. It is looked at once an epoch (C9). */
export class Trust {
  readonly #commands: CircuitBreaker;
  readonly #onEvent: OnEvent;
  readonly #epochs: Epochs;
  readonly #alsoLook: () => Promise<CacheError | undefined>;
  /** What is wrong whatever the epoch. */
  #danger: CacheError | undefined;
  #looking: Promise<CacheError | undefined> | undefined;
  #lookAgainAt = 0;
  /** The danger told of last: each is told once, however often somebody looks. */
  #told: CacheError | undefined;

  constructor(
    redis: { client: RedisClient; commands: CircuitBreaker },
    options: {
      dangerOf: DangerOf;
      /** What else may make this Redis unsafe. */
      alsoLook?: () => Promise<CacheError | undefined>;
      onEvent: OnEvent;
    },
  ) {
    const { dangerOf, alsoLook, onEvent } = options;
    this.#alsoLook = alsoLook ?? (() => Promise.resolve(undefined));
    this.#commands = redis.commands;
    this.#onEvent = onEvent;
    this.#epochs = new Epochs(redis.client, dangerOf);
  }

  /** The epochs that writes may be stored in. */
  get safeEpochs(): string {
    return this.#epochs.safe();
  }

  /** Looks anew. @throws {@link CacheError} `UNSAFE_REDIS` @throws CommandError */
  async ready(): Promise<void> {
    const danger = await this.#look();
    if (danger !== undefined) throw danger;
  }

  /** @throws {@link CacheError} `UNSAFE_REDIS`, `UNAVAILABLE` @throws CommandError */
  async check(epoch: string): Promise<void> {
    const known = this.#epochs.verdict(epoch);
    if (known === "safe" && this.#danger === undefined) return;
    const mayBeNew = known === undefined && this.#told === undefined;
    if (mayBeNew || performance.now() > this.#lookAgainAt) await this.#look();
    const unknown = this.#told ?? new CacheError("UNAVAILABLE", "Redis failed over just now.");
    const verdict = this.#danger ?? this.#epochs.verdict(epoch) ?? unknown;
    if (verdict !== "safe") throw verdict;
  }

  /** Takes note of an epoch, so that it is known for long enough one day. @throws CommandError */
  async meet(epoch: string): Promise<void> {
    if (this.#epochs.verdict(epoch) === undefined) await this.#look();
  }

  epochAge(ageMs: number): EpochAge {
    return { ageMs: Math.ceil(ageMs * (1 + clockDrift)), witnessed: this.#epochs.witnessed(ageMs) };
  }

  /** One look at a time: at start, many ask at once. */
  #look(): Promise<CacheError | undefined> {
    this.#looking ??= this.#lookAtAll()
      .then((danger) => {
        if (danger !== undefined && danger.message !== this.#told?.message)
          tell(this.#onEvent, { type: "unsafe-redis", error: danger });
        this.#told = danger;
        return danger;
      })
      .finally(() => {
        this.#looking = undefined;
        this.#lookAgainAt = performance.now() + lookAgainMs;
      });
    return this.#looking;
  }

  /** Both, so that the epochs are known whatever else is wrong. @throws CommandError */
  async #lookAtAll(): Promise<CacheError | undefined> {
    const danger = await this.#epochs.look((command) => this.#commands.send("a look at Redis", command));
    this.#danger = await this.#alsoLook();
    return danger ?? this.#danger;
  }
}
