import { createHmac } from "node:crypto";
import { circuitBreaker, ConsecutiveBreaker, handleWhen, timeout, TimeoutStrategy, wrap } from "cockatiel";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes, type IRateLimiterOptions } from "rate-limiter-flexible";
import type { RedisConnection } from "../redis/connection.ts";
import { RequestError } from "../requests/request-error.ts";

/** How many attempts may be made, in how many seconds from the first. */
interface Bound {
  readonly points: number;
  readonly duration: number;
}

const quarter = 15 * 60;
const hour = 60 * 60;

/**
 * What may fail before more is refused. A hundred is the most that NIST SP 800-63B (section 5.2.2) lets anybody guess at one
 * account; it bounds who has many addresses too, at the price that they can keep its owner from signing in for that long.
 */
const bounds = {
  "account-from-address": { points: 10, duration: quarter },
  account: { points: 100, duration: hour },
  address: { points: 100, duration: quarter },
  "sign-ups": { points: 30, duration: hour },
} as const satisfies Readonly<Record<string, Bound>>;

/** Who tries: what they call themselves, and the network they come from. */
interface Attempt {
  readonly username: string;
  readonly network: string;
}

/** How often passwords are guessed at and accounts opened, counted by all servers together. */
export interface Attempts {
  /**
   * Counts an attempt, makes it, and takes it back if it did not fail.
   * @throws {RequestError} 429 without making it, if too many have failed
   */
  signIn<Result>(from: Attempt, make: () => Promise<Result>, hasFailed: (result: Result) => boolean): Promise<Result>;
  /** @throws {RequestError} 429 if too many were made */
  signUp(network: string): Promise<void>;
}

/**
 * While Redis does not answer, each server counts for itself.
 *
 * What is counted by is one of 65,536 numbers and not a name or an address. So neither is in Redis, and somebody with any number
 * of addresses can't fill it; two that have the same number count as one, and which these are is known to who has the secret.
 */
export function openAttempts(client: RedisConnection, secret: string): Attempts {
  const policy = impatient();
  const numberOf = (key: string) => createHmac("sha256", secret).update(key).digest("hex").slice(0, 4);
  const open = (name: keyof typeof bounds) =>
    new Counter(client, policy, { keyPrefix: `lockstep:attempts:${name}`, ...bounds[name] });
  const [fromAddress, byAccount, byAddress, signUps] = [
    open("account-from-address"),
    open("account"),
    open("address"),
    open("sign-ups"),
  ];
  return {
    signIn: async ({ username, network }, make, hasFailed) => {
      const name = numberOf(username.toLowerCase());
      const net = numberOf(network);
      const here = numberOf(`${username.toLowerCase()}@${network}`);
      // Before the password is looked at: of many at once, no more than these get as far. One after the other: who is refused
      // for one account's sake must not use up what its owner has left elsewhere.
      await byAddress.count(net);
      await fromAddress.count(here);
      await byAccount.count(name);
      const takeBack = () => Promise.all([byAddress.takeBack(net), byAccount.takeBack(name)]);
      let result: Awaited<ReturnType<typeof make>>;
      try {
        result = await make();
      } catch (error) {
        // Nobody has learned anything about a password.
        await Promise.all([takeBack(), fromAddress.takeBack(here)]);
        throw error;
      }
      if (!hasFailed(result)) await Promise.all([takeBack(), fromAddress.forget(here)]);
      return result;
    },
    signUp: (network) => signUps.count(numberOf(network)),
  };
}

/** A command takes 250 ms at the most, and when three have failed, none is sent for two seconds. */
function impatient() {
  const outage = handleWhen((error) => !(error instanceof RateLimiterRes));
  return wrap(
    circuitBreaker(outage, { halfOpenAfter: 2_000, breaker: new ConsecutiveBreaker(3) }),
    timeout(250, TimeoutStrategy.Aggressive),
  );
}

/** Counts attempts by a key, in Redis, or here while that does not answer. */
class Counter {
  readonly #shared: RateLimiterRedis;
  readonly #own: RateLimiterMemory;
  readonly #policy: ReturnType<typeof impatient>;

  constructor(client: RedisConnection, policy: ReturnType<typeof impatient>, options: IRateLimiterOptions) {
    this.#shared = new RateLimiterRedis({ ...options, storeClient: client });
    this.#own = new RateLimiterMemory(options);
    this.#policy = policy;
  }

  /** @throws {RequestError} 429 if there were too many */
  async count(key: string): Promise<void> {
    try {
      await this.#either((limiter) => limiter.consume(key));
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      throw new RequestError(429, "too-many-attempts", `Too many attempts. Try again ${inWords(error.msBeforeNext)}.`, {
        retryAfterMs: error.msBeforeNext,
      });
    }
  }

  async takeBack(key: string): Promise<void> {
    await this.#either((limiter) => limiter.reward(key));
  }

  async forget(key: string): Promise<void> {
    await this.#either((limiter) => limiter.delete(key));
  }

  async #either(what: (limiter: RateLimiterRedis | RateLimiterMemory) => Promise<unknown>): Promise<unknown> {
    try {
      return await this.#policy.execute(() => what(this.#shared));
    } catch (error) {
      if (error instanceof RateLimiterRes) throw error;
      return what(this.#own);
    }
  }
}

function inWords(ms: number): string {
  const minutes = Math.ceil(ms / 60_000);
  return minutes === 1 ? "in a minute" : `in ${minutes} minutes`;
}
