import {
  type Near,
  type RedisClient,
  type Sender,
  type ServerInfo,
  parseServerInfo,
  primaries,
} from "@lockstep/redis-kit";
import { SessionStoreError } from "./errors.ts";

/** After a look that failed, how long none is made. */
const pauseMs = 5_000;

/**
 * C8: whether this Redis evicts nothing, by its own account. Marks have an expiry here, and a Redis that may evict one could let a copy be made
 * of what is about to be replaced.
 *
 * It is looked at once in each generation of the group: a policy that is changed on a running server is not noticed.
 */
export class Eviction {
  readonly #near: Near;
  readonly #client: RedisClient;
  readonly #commands: Sender<RedisClient>;
  readonly #onDanger: (error: SessionStoreError) => void;
  /** Of the generation that was looked at last. */
  #known: { readonly generation: string; readonly isSafe: boolean } | undefined;
  /** Whether the group is still the one that `#known` is about. */
  #isCurrent = false;
  #isLooking = false;
  #told: string | undefined;
  #lookAgainAt = -Infinity;

  constructor(
    near: Near,
    parts: { client: RedisClient; commands: Sender<RedisClient>; onDanger: (error: SessionStoreError) => void },
  ) {
    this.#near = near;
    this.#client = parts.client;
    this.#commands = parts.commands;
    this.#onDanger = parts.onDanger;
  }

  /** Whether copies may be made. Where that is not known, somebody looks. */
  get isSafe(): boolean {
    if (this.#isCurrent) return this.#known?.isSafe === true;
    if (!this.#isLooking && performance.now() >= this.#lookAgainAt) void this.#look();
    return false;
  }

  /** The server may have joined another group since. */
  forget(): void {
    this.#isCurrent = false;
    this.#lookAgainAt = -Infinity;
  }

  /** Never fails: without an answer nothing is kept. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    // What is forgotten from here on makes the answer one about what was.
    this.#isCurrent = true;
    const known = this.#known;
    this.#known = undefined;
    try {
      const { generation } = await this.#near.joining(this.#near.stallMs);
      this.#known = known?.generation === generation ? known : { generation, isSafe: await this.#isNoeviction() };
    } catch {
      this.#isCurrent = false;
      this.#lookAgainAt = performance.now() + pauseMs;
    } finally {
      this.#isLooking = false;
    }
  }

  async #isNoeviction(): Promise<boolean> {
    const looks = primaries(this.#client).map((node) => this.#commands.send("a look at Redis", () => node.info()));
    const infos = (await Promise.all(looks)).map(parseServerInfo);
    const policy = infos.map((info: ServerInfo) => info.maxmemoryPolicy).find((each) => each !== "noeviction");
    if (policy === undefined) return true;
    const message = `Near copies of sessions need maxmemory-policy noeviction, where it is ${policy}: none are kept.`;
    if (message !== this.#told) this.#onDanger(new SessionStoreError("UNSAFE_REDIS", message));
    this.#told = message;
    return false;
  }
}
