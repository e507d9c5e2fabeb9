import type { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import type { Near } from "@lockstep/redis-kit";
import { RedisStore, type SessionsOptions, createSessions, session } from "../src/index.ts";
import { type NearEngine, nearWith, openGroup } from "./harness/near.ts";
import { testClient } from "./harness/redis.ts";

const clients = [testClient(), testClient()] as const;

/** What is refused, by what is given beside a membership and its client. */
const refused: readonly [Partial<SessionsOptions> | ((near: Near) => Partial<SessionsOptions>), string][] = [
  [{ client: clients[1] }, "for the same client"],
  [{ near: {} as Near }, "what joinNearCache has returned"],
  [{ near: null as unknown as Near }, "what joinNearCache has returned"],
  [{ ids: "plain" }, 'needs ids "hashed"'],
  [{ migrateFrom: "plain" }, "no migrateFrom or migrateTo"],
  [{ migrateTo: "plain" }, "no migrateFrom or migrateTo"],
  [{ prefix: "{sess}:" }, "without braces"],
  [{ commitDeadlineMs: 2_302 }, "commitDeadlineMs must be at least 2303"],
  [(near) => ({ near: nearWith(near, { stallMs: 60_600 }) }), "commitDeadlineMs must be at least 62600"],
  [{ maxCopies: 0 }, "maxCopies must be a whole number above 0"],
  [{ maxCopyBytes: 1.5 }, "maxCopyBytes must be a whole number above 0"],
];

describe("options of near copies", () => {
  it.each(refused)("are refused: $1", async (given, message) => {
    const [{ near, client }] = (await openGroup([clients[0]])) as [NearEngine & { client: Redis }];
    const options = { client, near, ...(typeof given === "function" ? given(near) : given) };
    expect(() => createSessions(options)).toThrow(message);
    expect(() => createSessions(options)).toThrow(TypeError);
  });

  it("are those of session() and RedisStore too", async () => {
    const [{ near, client }] = (await openGroup([clients[0]])) as [NearEngine];
    const options = { client, near, commitDeadlineMs: 2_303 };
    expect(session({ ...options, secret: "test" })).toBeTypeOf("function");
    const store = new RedisStore(options);
    await store.set("a", { cookie: { originalMaxAge: null }, n: 1 } as never);
    expect(await store.get("a")).toMatchObject({ n: 1 });
    const tooShort = { ...options, commitDeadlineMs: 2_302 };
    expect(() => session({ ...tooShort, secret: "test" })).toThrow("commitDeadlineMs");
    expect(() => new RedisStore(tooShort)).toThrow("commitDeadlineMs");
  });
});
