import { expect, test } from "vitest";
import { ConfigError, readConfig } from "../src/config.ts";
import { readCacheUrl, readRedisUrl } from "../src/redis/redis-url.ts";

const complete = {
  SERVER_NAME: "web-1",
  PORT: "3001",
  DATABASE_URL: "postgres://localhost/lockstep",
  STATE_REDIS_URL: "redis://localhost:6379",
  CACHE_URL: "redis://localhost:6380",
  SESSION_SECRET: "new, old",
};

test("what may be left out has a default", () => {
  expect(readConfig(complete)).toEqual({
    serverName: "web-1",
    port: 3001,
    host: "127.0.0.1",
    databaseUrl: "postgres://localhost/lockstep",
    databasePoolSize: 10,
    stateRedis: readRedisUrl("redis://localhost:6379"),
    cache: readCacheUrl("redis://localhost:6380"),
    durability: undefined,
    profileWrites: "write-through",
    nearCopies: "off",
    sessionSecrets: ["new", "old"],
    sessionStack: "middleware",
    publicOrigins: [],
    trustedProxies: ["loopback"],
  });
});

test("every variable that must be set is named, each in a sentence of its own", () => {
  expect(() => readConfig({})).toThrow(ConfigError);
  for (const name of Object.keys(complete))
    expect(() => readConfig({})).toThrow(new RegExp(`^${name} must .*\\.$`, "m"));
});

test.for([
  { SERVER_NAME: "web_1" },
  { SERVER_NAME: "" },
  { PORT: "" },
  { PORT: "65536" },
  { PORT: "1e3" },
  { DATABASE_URL: "mysql://localhost/lockstep" },
  { DATABASE_POOL_SIZE: "0" },
  { STATE_REDIS_URL: "localhost:6379" },
  { STATE_REDIS_URL: "memcached://localhost:11211" },
  { CACHE_URL: "http://localhost:6380" },
  { STATE_REPLICAS: "-1" },
  { PROFILE_WRITES: "write-behind" },
  { NEAR_COPIES: "yes" },
  { SESSION_SECRET: "" },
  { SESSION_SECRET: "new,,old" },
  { SESSION_STACK: "memory" },
  { PUBLIC_ORIGINS: "https://shop.example/" },
  { TRUST_PROXY: "everyone" },
  { TRUST_PROXY: "10.0.0.0/8/8" },
])("%o is refused in one sentence", (mistake: Record<string, string>) => {
  const [name] = Object.keys(mistake);
  expect(() => readConfig({ ...complete, ...mistake })).toThrow(new RegExp(`^${name} must [^\n]*\\.$`));
});

test("proxies are trusted by name, address or subnet", () => {
  const { trustedProxies } = readConfig({ ...complete, TRUST_PROXY: "uniquelocal, 192.0.2.1, 2001:db8::/32" });
  expect(trustedProxies).toEqual(["uniquelocal", "192.0.2.1", "2001:db8::/32"]);
});

test("a mistake in the address of a Redis is told without what was given, which may hold a password", () => {
  const mistaken = { ...complete, STATE_REDIS_URL: "redis://app:hunter2@localhost:port" };
  expect(() => readConfig(mistaken)).toThrow(/^(?![^]*hunter2)STATE_REDIS_URL must /);
});
