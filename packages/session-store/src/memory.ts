import { EventEmitter } from "node:events";
import type { Redis } from "ioredis";
import { equivalents } from "./memory-scripts.ts";
import { MemoryServer, type Subscriber } from "./memory-server.ts";

/** One connection to a server in memory: the commands of this package, and a few for tests to look with. */
class MemoryClient extends EventEmitter implements Subscriber {
  readonly options = {};
  /** There is no socket to write to. */
  readonly stream = undefined;
  readonly #server: MemoryServer;
  readonly #channels = new Set<string>();
  status = "ready";

  constructor(server: MemoryServer) {
    super();
    this.#server = server;
    server.join(this);
  }

  async evalsha(sha1: string, keyCount: number, ...keysAndArgs: (string | number)[]): Promise<unknown> {
    const equivalent = equivalents.get(sha1);
    if (!equivalent) throw new Error("memoryRedis() runs no scripts but those of this package.");
    const texts = keysAndArgs.map(String);
    return equivalent(this.#server, texts.slice(0, keyCount), texts.slice(keyCount));
  }

  async get(key: string): Promise<string | null> {
    return this.#server.text(key) ?? null;
  }

  async getBuffer(key: string): Promise<Buffer | null> {
    const text = this.#server.text(key);
    return text === undefined ? null : Buffer.from(text);
  }

  async getrange(key: string, from: number, to: number): Promise<string> {
    return (this.#server.text(key) ?? "").slice(from, to + 1);
  }

  async strlen(key: string): Promise<number> {
    return Buffer.byteLength(this.#server.text(key) ?? "");
  }

  async set(key: string, text: string, ...[unit, life]: [] | [unit: string, life: number]): Promise<"OK"> {
    const unitMs = unit === undefined ? Infinity : oneOf("SET", { PX: 1, EX: 1_000 }, unit);
    this.#server.setText(key, text, (life ?? 1) * unitMs);
    return "OK";
  }

  async del(...keys: string[]): Promise<number> {
    return keys.filter((key) => this.#server.delete(key)).length;
  }

  async exists(...keys: string[]): Promise<number> {
    return keys.filter((key) => this.#server.type(key) !== "none").length;
  }

  async type(key: string): Promise<string> {
    return this.#server.type(key);
  }

  async time(): Promise<[string, string]> {
    const now = Date.now();
    return [String(Math.floor(now / 1_000)), String((now % 1_000) * 1_000)];
  }

  async pttl(key: string): Promise<number> {
    return this.#server.remainingMs(key);
  }

  async pexpire(key: string, lifeMs: number): Promise<number> {
    return Number(this.#server.expire(key, lifeMs));
  }

  async keys(pattern: string): Promise<string[]> {
    const matching = asRegExp(pattern);
    return this.#server.keys().filter((key) => matching.test(key));
  }

  /** All at once: a step's size is only a hint to Redis too. */
  async scan(_cursor: string, _match: "MATCH", pattern: string): Promise<[string, string[]]> {
    return ["0", await this.keys(pattern)];
  }

  async zadd(key: string, condition: string, score: number, member: string): Promise<number> {
    const before = this.#server.sortedSet(key).get(member);
    const isNew = before === undefined;
    const isMet = oneOf("ZADD", { GT: isNew || score > before, LT: isNew || score < before, XX: !isNew }, condition);
    if (isMet) this.#server.setMember(key, member, score);
    return Number(isMet && isNew);
  }

  async zrem(key: string, member: string): Promise<number> {
    return Number(this.#server.removeMember(key, member));
  }

  async zrange(key: string, from: number, to: number | string, withScores?: "WITHSCORES"): Promise<string[]> {
    const end = Number(to) + 1;
    const members = this.#sorted(key).slice(from, end === 0 ? undefined : end);
    return members.flatMap(([member, score]) => (withScores ? [member, String(score)] : [member]));
  }

  async zrangebyscore(
    key: string,
    from: string,
    to: number,
    ...[, skipped, count]: ["LIMIT", number, number]
  ): Promise<string[]> {
    const least = oneOf("ZRANGEBYSCORE", { "-inf": -Infinity }, from);
    const members = this.#sorted(key).filter(([, score]) => score >= least && score <= to);
    return members.slice(skipped, skipped + count).map(([member]) => member);
  }

  async publish(channel: string, message: string): Promise<number> {
    return this.#server.publish(channel, message);
  }

  async subscribe(channel: string): Promise<number> {
    this.#channels.add(channel);
    return this.#channels.size;
  }

  isSubscribed(channel: string): boolean {
    return this.#channels.has(channel);
  }

  tell(channel: string, message: string): void {
    this.emit("message", channel, message);
  }

  duplicate(): Redis {
    return asRedis(new MemoryClient(this.#server));
  }

  disconnect(): void {
    this.status = "end";
    this.#channels.clear();
    this.#server.leave(this);
  }

  #sorted(key: string): [string, number][] {
    // Of one score, the first that came: Redis takes them by their bytes, but has no two sign-ins in one millisecond.
    return [...this.#server.sortedSet(key)].sort(([, one], [, two]) => one - two);
  }
}

/**
 * A Redis of this process' memory, for unit tests: `session()`, `RedisStore` and `createSessions` run on it as they do on a
 * real one, with nothing to start and nothing to wait for. Keys expire by the clock, so by a faked one too.
 *
 * ```ts
 * const app = buildApp({ sessions: createSessions({ client: memoryRedis() }) });
 * ```
 *
 * Engines on one `memoryRedis()`, or on its `duplicate()`s, share their sessions and hear each other's events, as servers
 * do; what another call gives is another server, and another process has its own. After `disconnect()` it is away, for the
 * test of an outage. It knows the commands of this package, and of the others `get`, `set`, `del`, `exists`, `type`,
 * `strlen`, `keys`, `pttl`, `pexpire`, `zrange` and `publish`; the rest throw.
 *
 * @returns a client
 */
export function memoryRedis(): Redis {
  return asRedis(new MemoryClient(new MemoryServer()));
}

/** What a missing method would be: any command of Redis, but no `then`, which would make it a promise. */
const commandName = /^(?!then$)[a-z]+$/;

function asRedis(client: MemoryClient): Redis {
  const known = new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value === "function") return value.bind(target) as unknown;
      if (name in target || typeof name === "symbol" || !commandName.test(name)) return value;
      return () => {
        throw new Error(`memoryRedis() knows no ${name}: it is for unit tests of sessions. Use a real Redis.`);
      };
    },
  });
  return known as unknown as Redis;
}

/** What a command's argument stands for; others than the known would be taken for something that they are not. */
function oneOf<T>(command: string, known: Readonly<Record<string, T>>, given: string): T {
  const found = known[given];
  if (found === undefined) throw new Error(`memoryRedis() knows no ${command} with ${given}. Use a real Redis.`);
  return found;
}

/** A pattern in which only `*` stands for something else than itself. */
function asRegExp(pattern: string): RegExp {
  const parts = pattern.match(/\\.|[^\\]/gs) ?? [];
  return new RegExp(`^${parts.map((part) => (part === "*" ? ".*" : literal(part.at(-1) ?? ""))).join("")}$`, "s");
}

function literal(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
}
