import { expect, test } from "vitest";
import { readCacheUrl, readRedisUrl } from "../src/redis/redis-url.ts";

const nobody = { tls: false, username: undefined, password: undefined };

test("one server, with what may be left out", () => {
  const address = { host: "redis", port: 6_379 };
  expect(readRedisUrl("redis://redis")).toEqual({ kind: "single", ...nobody, address, database: 0 });
  expect(readRedisUrl("redis://redis:6379/")).toEqual({ kind: "single", ...nobody, address, database: 0 });
  expect(readRedisUrl("redis://redis/3")).toEqual({ kind: "single", ...nobody, address, database: 3 });
  expect(readRedisUrl("redis://[::1]:7000")).toMatchObject({ address: { host: "::1", port: 7_000 } });
});

test("who connects, and by TLS", () => {
  expect(readRedisUrl("rediss://web:p%40ss%2Fword@redis:6379")).toMatchObject({
    tls: true,
    username: "web",
    password: "p@ss/word",
  });
  expect(readRedisUrl("redis://:secret@redis")).toMatchObject({ username: undefined, password: "secret" });
});

test("a primary that sentinels name", () => {
  expect(readRedisUrl("redis+sentinel://web:secret@a,b:5000/state")).toEqual({
    kind: "sentinel",
    tls: false,
    username: "web",
    password: "secret",
    sentinels: [
      { host: "a", port: 26_379 },
      { host: "b", port: 5_000 },
    ],
    name: "state",
  });
});

test("a Cluster, of which some nodes are named", () => {
  const nodes = [
    { host: "a", port: 6_379 },
    { host: "10.0.0.2", port: 7_001 },
  ];
  expect(readRedisUrl("rediss+cluster://a,10.0.0.2:7001")).toEqual({ kind: "cluster", ...nobody, tls: true, nodes });
});

test("Memcached servers, for what may be lost", () => {
  const servers = [
    { host: "a", port: 11_211 },
    { host: "b", port: 11_212 },
  ];
  expect(readCacheUrl("memcached://a,b:11212")).toEqual({ kind: "memcached", servers });
  expect(readCacheUrl("redis://redis")).toEqual(readRedisUrl("redis://redis"));
});

test.for([
  "",
  "redis",
  "redis://",
  "redis://:6379",
  "redis://host:port",
  "redis://host:0",
  "redis://host:65536",
  "redis://host/one",
  "redis://host?db=1",
  "redis://web@host",
  "redis://we%zz:secret@host",
  "redis://a,b",
  "redis://user:pa@ss@host",
  "redis+sentinel://a,b",
  "redis+sentinel://a,,b/name",
  "redis+cluster://a/1",
  "memcached://a/1",
  "memcached://user:secret@a",
  "http://host:6379",
])("%o is none", (text) => {
  expect(readCacheUrl(text)).toBeUndefined();
  expect(readRedisUrl(text)).toBeUndefined();
});
