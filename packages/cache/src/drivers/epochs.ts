import { type RedisClient, type ServerInfo, parseServerInfo, primaries } from "@lockstep/redis-kit";
import { CacheError } from "../errors.ts";
import { clockDrift } from "../options.ts";

/** How many epochs are remembered: one for each primary of a Cluster, and some that are over. */
const maxKnown = 1_024;

/**
 * The epochs (C9) that this process has met: since when, and whether their server may be trusted with marks (C8).
 *
 * A safe server's policy is looked at once an epoch: whoever changes it on a running server is not noticed.
 */
export class Epochs {
  readonly #client: RedisClient;
  readonly #dangerOf: DangerOf;
  readonly #known = new Map<string, { readonly since: number; readonly unsafe: CacheError | undefined }>();

  constructor(client: RedisClient, dangerOf: DangerOf) {
    this.#client = client;
    this.#dangerOf = dangerOf;
  }

  /**
   * Whether the server of this epoch may be used: an error if not, `undefined` if nobody has looked yet. Asked on every
   * reply, so it takes a map lookup.
   */
  verdict(epoch: string): "safe" | CacheError | undefined {
    const known = this.#known.get(epoch);
    return known === undefined ? undefined : (known.unsafe ?? "safe");
  }

  /**
   * Looks at all primaries, and answers what makes one of them unsafe, if anything does.
   *
   * @throws what `ask` throws, once those that answer have been looked at
   */
  async look(ask: <T>(command: () => Promise<T>) => Promise<T>): Promise<CacheError | undefined> {
    const looks = primaries(this.#client).map(async (node) => this.#judge(await ask(() => node.info())));
    const dangers = await Promise.allSettled(looks).then(() => Promise.all(looks));
    return dangers.find((danger) => danger !== undefined);
  }

  /** Not while it is asked: a reply that lacks something would look like an outage. */
  #judge(reply: string): CacheError | undefined {
    try {
      return this.#note(parseServerInfo(reply));
    } catch (error) {
      return new CacheError("UNSAFE_REDIS", (error as Error).message, { cause: error });
    }
  }

  #note(info: ServerInfo): CacheError | undefined {
    const known = this.#known.get(info.epoch);
    const [oldest] = this.#known.keys();
    if (known === undefined && this.#known.size >= maxKnown && oldest !== undefined) this.#known.delete(oldest);
    const danger = this.#dangerOf(info);
    // The same error as before, as long as it is the same danger: each is told of once.
    const unsafe = danger?.message === known?.unsafe?.message ? known?.unsafe : danger;
    this.#known.set(info.epoch, { since: known?.since ?? performance.now(), unsafe });
    return unsafe;
  }

  /** The epochs of servers that may be used, as the scripts take them. */
  safe(): string {
    return [...this.#known].flatMap(([epoch, { unsafe }]) => (unsafe === undefined ? [epoch] : [])).join(" ");
  }

  /** The epochs that this process has known for so long, as the scripts take them. */
  witnessed(ageMs: number): string {
    const since = performance.now() - ageMs * (1 + clockDrift);
    return [...this.#known].flatMap(([epoch, known]) => (known.since <= since ? [epoch] : [])).join(" ");
  }
}

/** What makes a server unsafe, if anything does. */
export type DangerOf = (info: ServerInfo) => CacheError | undefined;

/** What makes a server unfit to be trusted with marks (C8), if anything does. */
export function dangerToMarks({ redisVersion, maxmemoryPolicy }: ServerInfo): CacheError | undefined {
  if (Number(redisVersion.split(".")[0]) < 7) {
    return new CacheError("UNSAFE_REDIS", `Redis is ${redisVersion}, and must be 7 or newer.`);
  }
  if (maxmemoryPolicy.startsWith("allkeys")) {
    const message = `The eviction policy of Redis is ${maxmemoryPolicy}, which evicts the marks of pending writes: set maxmemory-policy to a volatile one, such as volatile-lfu.`;
    return new CacheError("UNSAFE_REDIS", message);
  }
  return undefined;
}

/** What would lose writes that Redis alone has. */
export function dangerToQueue({ redisVersion, maxmemoryPolicy, aofEnabled }: ServerInfo): CacheError | undefined {
  if (Number(redisVersion.split(".")[0]) < 7) {
    return new CacheError("UNSAFE_REDIS", `Redis is ${redisVersion}, and must be 7 or newer.`);
  }
  const beginning = "A write-behind collection keeps in Redis what is nowhere else:";
  if (maxmemoryPolicy !== "noeviction") {
    const message = `${beginning} set maxmemory-policy to noeviction, where it is ${maxmemoryPolicy}.`;
    return new CacheError("UNSAFE_REDIS", message);
  }
  return aofEnabled ? undefined : new CacheError("UNSAFE_REDIS", `${beginning} set appendonly to yes.`);
}
