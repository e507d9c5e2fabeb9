import { isIP } from "node:net";
import { z } from "zod";
import { readCacheUrl, readRedisUrl } from "./redis/redis-url.ts";
import { isServerName } from "./servers/server-name.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The environment does not describe a server: one sentence per mistake. */
export class ConfigError extends Error {
  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.name = "ConfigError";
  }
}

const databaseUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: "DATABASE_URL must be a URL like postgres://user:password@localhost:5432/lockstep.",
});

const webServer = z
  .object({
    SERVER_NAME: text("SERVER_NAME must be 1 to 32 letters, digits and hyphens, like web-1.", isServerName),
    PORT: wholeNumber("PORT", { min: 0, max: 65_535 }),
    HOST: text("HOST must not be empty.").default("127.0.0.1"),
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: wholeNumber("DATABASE_POOL_SIZE", { min: 1, max: 100 }).default(10),
    STATE_REDIS_URL: place(
      "STATE_REDIS_URL must be a URL like redis://host:6379, redis+sentinel://host:26379,host:26379/name or redis+cluster://host:6379,host:6379.",
      readRedisUrl,
    ),
    CACHE_URL: place(
      "CACHE_URL must be a URL of a Redis, like redis://host:6379, or of Memcached servers, like memcached://host:11211,host:11211.",
      readCacheUrl,
    ),
    STATE_REPLICAS: wholeNumber("STATE_REPLICAS", { min: 0, max: 9 }).default(0),
    PROFILE_WRITES: z
      .enum(["write-through", "cache-aside"], { error: "PROFILE_WRITES must be write-through or cache-aside." })
      .default("write-through"),
    NEAR_COPIES: z.enum(["off", "join", "on"], { error: "NEAR_COPIES must be off, join or on." }).default("off"),
    SESSION_SECRET: list("SESSION_SECRET must be a secret, or several separated by commas."),
    SESSION_STACK: z
      .enum(["connect-redis", "store", "middleware"], {
        error: "SESSION_STACK must be connect-redis, store or middleware.",
      })
      .default("middleware"),
    PUBLIC_ORIGINS: list(
      "PUBLIC_ORIGINS must be origins separated by commas, like https://a.example.",
      isOrigin,
    ).default([]),
    TRUST_PROXY: list(
      "TRUST_PROXY must be addresses, subnets, loopback, linklocal or uniquelocal, separated by commas.",
      isProxyAddress,
    ).default(["loopback"]),
  })
  .transform((environment) => ({
    serverName: environment.SERVER_NAME,
    port: environment.PORT,
    host: environment.HOST,
    databaseUrl: environment.DATABASE_URL,
    databasePoolSize: environment.DATABASE_POOL_SIZE,
    stateRedis: environment.STATE_REDIS_URL,
    cache: environment.CACHE_URL,
    // Less than the quarter of a second that a command of the cache may take.
    durability: environment.STATE_REPLICAS > 0 ? { replicas: environment.STATE_REPLICAS, timeoutMs: 200 } : undefined,
    profileWrites: environment.PROFILE_WRITES,
    nearCopies: environment.NEAR_COPIES,
    sessionSecrets: environment.SESSION_SECRET,
    sessionStack: environment.SESSION_STACK,
    publicOrigins: environment.PUBLIC_ORIGINS,
    trustedProxies: environment.TRUST_PROXY,
  }));

const migration = z
  .object({ DATABASE_URL: databaseUrl })
  .transform((environment) => ({ databaseUrl: environment.DATABASE_URL }));

/** Everything that differs between two servers, and between this machine and another. */
export type Config = z.output<typeof webServer>;

/** What the servers share entries in. */
export type SharedTierName = "redis" | "memcached";

export function sharedTierName({ cache }: Config): SharedTierName {
  return cache.kind === "memcached" ? "memcached" : "redis";
}

/**
 * Reads a web server's configuration.
 * @throws {ConfigError} naming each variable that is missing or wrong
 */
export function readConfig(environment: Environment): Config {
  return read(webServer, environment);
}

/**
 * Reads what a migration needs: the database's address, and nothing else.
 * @throws {ConfigError} if it is missing or wrong
 */
export function readMigrationConfig(environment: Environment): z.output<typeof migration> {
  return read(migration, environment);
}

function read<Output>(schema: z.ZodType<Output>, environment: Environment): Output {
  const result = schema.safeParse(environment);
  if (!result.success) throw new ConfigError(result.error.issues.map((issue) => issue.message));
  return result.data;
}

/** What `read` finds in a text. The error says nothing of what was given: it may hold a password. */
function place<Place>(error: string, read: (text: string) => Place | undefined) {
  return z.string({ error }).transform((text, context) => {
    const found = read(text);
    if (found !== undefined) return found;
    context.addIssue({ code: "custom", message: error });
    return z.NEVER;
  });
}

function text(error: string, isValid = (value: string) => value !== "") {
  return z.string({ error }).refine(isValid, error);
}

function list(error: string, isValid = (item: string) => item !== "") {
  return z
    .string({ error })
    .transform((value) => value.split(",").map((item) => item.trim()))
    .refine((items) => items.every(isValid), error);
}

function wholeNumber(name: string, { min, max }: { min: number; max: number }) {
  const error = `${name} must be a whole number from ${min} to ${max}.`;
  return z
    .string({ error })
    .refine((value) => /^\d{1,6}$/.test(value) && Number(value) >= min && Number(value) <= max, error)
    .transform(Number);
}

function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value;
}

/** What Express accepts in "trust proxy": named ranges, addresses, subnets. */
function isProxyAddress(value: string): boolean {
  const [address = "", bits, ...rest] = value.split("/");
  if (["loopback", "linklocal", "uniquelocal"].includes(value)) return true;
  return isIP(address) !== 0 && rest.length === 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
}
