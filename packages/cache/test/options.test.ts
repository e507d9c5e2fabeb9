import { describe, expect, it } from "vitest";
import { type CacheOptions, type CollectionOptions, createCache, createMemory } from "../src/index.ts";
import { openServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { testClient } from "./harness/redis.ts";

const client = {} as NonNullable<CacheOptions["client"]>;

describe("an option that can't be meant", () => {
  it.each([
    ["one of client, memcached and memory is required", { client: undefined as never }],
    ["one of client, memcached and memory is required", { memory: createMemory() as never }],
    ["memory must be", { client: undefined as never, memory: {} as never }],
    ["memcached must be", { client: undefined as never, memcached: { servers: [], close: () => undefined } as never }],
    ["client must be", { client }],
    ["name must be", { name: "" }],
    ["name must be", { name: "a{b}" }],
    ["name must be", { name: "a*" }],
    ["deadlineMs must be", { deadlineMs: 0 }],
    ["deadlineMs must be", { deadlineMs: NaN }],
    ["deadlineMs must be at most", { deadlineMs: 2 ** 31 }],
    ["replicas must be", { replicas: null as never }],
  ])("of a cache is a mistake at its creation: %s", (message, options) => {
    const create = () => createCache({ client: testClient(), name: "c", ...options });
    expect(create).toThrow(TypeError);
    expect(create).toThrow(message);
  });

  it.each<[string, Partial<CollectionOptions<unknown>>]>([
    ["ttlMs must be", { ttlMs: 0 }],
    ["ttlMs must be", { ttlMs: Infinity }],
    ["ttlMs must be at most", { ttlMs: 2 ** 31 }],
    ["ttlMs must be a positive number", { ttlMs: NaN }],
    ["ttlMs must be", { ttlMs: "60" as never }],
    ["missingMs must be", { missingMs: -1 }],
    ["writePolicy must be", { writePolicy: "write-back" as never }],
    ["onUnavailable must be", { onUnavailable: "ignore" as never }],
    ["maxSourceConcurrency must be", { maxSourceConcurrency: 1.5 }],
    ["maxSourceQueue must be", { maxSourceQueue: 0 }],
    ["maxBytes must be", { maxBytes: 0 }],
    ["at most 0.99 × pendingMs", { pendingMs: 1_000, commitDeadlineMs: 991 }],
    ["load or loadMany is required", { load: undefined }],
  ])("of a collection is a mistake at its opening: %s", (message, options) => {
    const { cache } = openServer(new Source());
    const load = () => Promise.resolve(undefined);
    const open = () => cache.collection("other", { load, ttlMs: 1, ...options });
    expect(open).toThrow(TypeError);
    expect(open).toThrow(message);
  });

  it("is a type that no key could hold, or that is open already", () => {
    const { cache } = openServer(new Source());
    const options = { load: () => Promise.resolve(undefined), ttlMs: 1 };
    for (const type of ["", "a:b", "a{", "a*"]) expect(() => cache.collection(type, options)).toThrow(TypeError);
    expect(() => cache.collection("thing", options)).toThrow("open already");
    expect(cache.collections().map(({ type }) => type)).toEqual(["thing"]);
  });
});

describe("an id", () => {
  it("is a string or a number, unless there is a key function", async () => {
    const { things } = openServer(new Source());
    for (const id of [undefined, null, {}, [], true, Symbol("x"), () => "x", ""]) {
      await expect(things.get(id as string)).rejects.toMatchObject({ code: "INVALID_ID" });
    }
  });

  it("of another shape is read by what its key function makes of it", async () => {
    const { cache } = openServer(new Source());
    const asked: object[] = [];
    const points = cache.collection<string, { x: number; y: number }>("point", {
      key: ({ x, y }) => `${x},${y}`,
      loadMany: (ids) => {
        asked.push(...ids);
        return Promise.resolve(new Map(ids.map(({ x, y }) => [{ x, y }, `${x}|${y}`])));
      },
      ttlMs: 60_000,
    });
    expect(
      await points.getMany([
        { x: 1, y: 2 },
        { x: 3, y: 4 },
        { x: 1, y: 2 },
      ]),
    ).toEqual(["1|2", "3|4", "1|2"]);
    expect(asked).toHaveLength(2);
    const bad = cache.collection<string, object>("bad", {
      key: () => 7 as never,
      load: () => Promise.resolve(""),
      ttlMs: 1,
    });
    await expect(bad.get({})).rejects.toMatchObject({
      code: "INVALID_ID",
      message: 'The "key" of collection "bad" must return a string.',
    });
  });
});
