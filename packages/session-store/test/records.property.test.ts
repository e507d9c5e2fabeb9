import { randomBytes } from "node:crypto";
import { Agent } from "node:http";
import express from "express";
import expressSession, { type SessionData } from "express-session";
import fc from "fast-check";
import { afterAll, describe, expect, it, vi } from "vitest";
import { RedisStore, type SessionsOptions, createSessions, session } from "../src/index.ts";
import { serve } from "./harness/app.ts";
import { ask, cookieOf } from "./harness/exchange.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

// Each asks a server a hundred times and more, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 });

const client = testClient();
const agent = new Agent({ keepAlive: true });
afterAll(() => {
  agent.destroy();
});

interface Told {
  readonly id: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** How the sessions stand in Redis. */
const schemes: Record<string, Partial<SessionsOptions>> = {
  "plain ids": { ids: "plain" },
  "hashed ids": { ids: "hashed", userOf: ({ user }) => user as string, absoluteMs: 2e16 },
  encrypted: { encryption: { keys: [randomBytes(32), randomBytes(32)] } },
};

/** An app whose handler changes its session, and one session with what people put into theirs. */
async function start(scheme: Partial<SessionsOptions>, adapter: "session" | "RedisStore" = "session") {
  const options = { client, prefix: uniquePrefix(), commandDeadlineMs: 5_000, ...scheme };
  const sessions = createSessions(options);
  const stock = { secret: "s", resave: false, saveUninitialized: false, cookie: { maxAge: 60_000 } };
  const app = express();
  app.use(
    adapter === "session"
      ? session({ sessions, ...stock })
      : expressSession({ ...stock, store: new RedisStore(options) }),
  );
  app.get("/", (req, res) => {
    expect("polluted" in req.session).toBe(false);
    const { cookie: _cookie, ...fields } = req.session as SessionData;
    Object.assign(req.session, { user: "alice", cart: [{ id: 1, name: "Stift, rot “fein”" }], form: { "a/b": null } });
    Object.assign(req.session, { at: performance.now() });
    res.json({ id: req.sessionID, fields } satisfies Told);
  });
  const base = await serve(app);
  const first = await ask(base).whole;
  const { id } = JSON.parse(first.body) as Told;
  const handle = options.ids === "plain" ? id : sessions.handleOf(id);
  const [key = ""] = await client.keys(`${options.prefix}*${handle}`);
  const valid = await client.getBuffer(key);
  if (!valid) throw new Error("no record");

  /** Asks with the session's cookie. It is never an error, and an answer comes soon. */
  async function use(): Promise<Told & { readonly isUsed: boolean }> {
    const startedAt = performance.now();
    const { status, body } = await ask(base, { agent, headers: { cookie: cookieOf(first) } }).whole;
    expect(status, body).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const told = JSON.parse(body) as Told;
    return { ...told, isUsed: told.id === id };
  }

  /** What is under the session's key can't be used: it is told, kept, and in nobody's way. */
  async function expectKept(): Promise<void> {
    const before = await client.dump(key);
    const { corrupt } = sessions.counts();
    const told = await use();
    expect(told).toMatchObject({ isUsed: false, fields: {} });
    expect((await use()).isUsed).toBe(false);
    if (adapter === "session") expect(sessions.counts().corrupt).toBeGreaterThan(corrupt);
    expect(await client.dump(key)).toEqual(before);
  }

  /** Whatever is under it: either it is a session, which can be changed, or it is kept. */
  async function expectUsedOrKept(record: Buffer | string): Promise<void> {
    await client.set(key, record, "PX", 60_000);
    const { corrupt } = sessions.counts();
    const { isUsed } = await use();
    if (isUsed) {
      expect(sessions.counts().corrupt).toBe(corrupt);
      expect(await client.getBuffer(key)).not.toEqual(Buffer.from(record));
    } else {
      await expectKept();
    }
  }

  return { id, key, valid, sessions, use, expectKept, expectUsedOrKept };
}

describe.each(Object.entries(schemes))("S11: a record that can't be used, %s", (name, scheme) => {
  it("is none where it is cut short, wherever", async () => {
    const { key, valid, expectKept } = await start(scheme);
    const step = name === "plain ids" ? 1 : 11;
    for (let length = 1; length < valid.length; length += step) {
      await client.set(key, valid.subarray(0, length), "PX", 60_000);
      await expectKept();
    }
  });

  it("is a session or kept with any bit flipped", async () => {
    const { valid, expectUsedOrKept } = await start(scheme);
    const flips = fc.record({ at: fc.nat(valid.length - 1), bit: fc.nat(7) });
    await fc.assert(
      fc.asyncProperty(flips, async ({ at, bit }) => {
        const flipped = Buffer.from(valid);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        await expectUsedOrKept(flipped);
      }),
      { numRuns: 120 },
    );
  });

  it("is kept whatever its bytes", async () => {
    const { expectUsedOrKept } = await start(scheme);
    const marks = fc.constantFrom("", ">", ">r", ">m", "E1.", "E1.x.", "E1..", "{", "[", '"', "null");
    const tail = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc.string().map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(marks, tail, async (mark, bytes) => {
        const record = Buffer.concat([Buffer.from(mark), bytes]);
        // These stand for a destroyed session, one that has arrived elsewhere, and those whose id was replaced.
        const isNone = ["", ">m"].includes(record.toString()) || record.toString().startsWith(">x");
        if (!isNone) await expectUsedOrKept(record);
      }),
      { numRuns: 80 },
    );
  });

  it("is not overwritten by who had read the session before", async () => {
    const { id, key, valid, sessions } = await start(scheme);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((some) => Buffer.from(some)),
      fc.constantFrom("", ">", ">m", ">r", "E1.", "{}", '{"cookie":{}}', "null").map((text) => Buffer.from(text)),
      fc.nat(valid.length - 1).map((length) => valid.subarray(0, length)),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (record) => {
        await client.set(key, valid, "PX", 60_000);
        const tracked = await sessions.load(id);
        const fields = tracked && sessions.read(tracked);
        if (!tracked || !fields) throw new Error("the session can't be read");
        await client.set(key, record, "PX", 60_000);
        const outcome = await sessions.commit(tracked, { ...fields, late: 1 }).catch((error: unknown) => error);
        if (outcome === "stored") {
          expectSession(record);
          return;
        }
        if (outcome !== "gone") expect(outcome).toMatchObject({ name: "SessionStoreError", code: "INVALID_SESSION" });
        expect(await client.getBuffer(key)).toEqual(record);
      }),
      { numRuns: 80 },
    );
  });

  it.each(["hash", "list", "set", "zset", "stream"])("is kept where it is a %s", async (type) => {
    const { key, expectKept } = await start(scheme);
    await client.del(key);
    if (type === "hash") await client.hset(key, "a", "1");
    if (type === "list") await client.rpush(key, "a");
    if (type === "set") await client.sadd(key, "a");
    if (type === "zset") await client.zadd(key, 1, "a");
    if (type === "stream") await client.xadd(key, "*", "a", "1");
    await expectKept();
  });

  if (name === "encrypted") return;

  it("is a session or kept as any JSON", async () => {
    const { expectUsedOrKept } = await start(scheme);
    const part = fc.jsonValue({ maxDepth: 3 });
    const shape = fc.oneof(
      part,
      fc.record({ cookie: part, __lockstep: part, user: part, save: part }, { requiredKeys: [] }),
    );
    await fc.assert(
      fc.asyncProperty(shape, (value) => expectUsedOrKept(JSON.stringify(value))),
      { numRuns: 80 },
    );
  });

  it("is a session or kept with any one value replaced", async () => {
    const { valid, expectUsedOrKept } = await start(scheme);
    const record = JSON.parse(valid.toString()) as object;
    const odd = fc.oneof(
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom(-1, 1e15, 1e300, 0.5, "", "Invalid Date", "\ud800", "; Domain=evil", "a\r\nb"),
      // A conversion would call what is no function.
      fc.constantFrom(...["toString", "valueOf", "toJSON", "constructor", "then"].map((method) => ({ [method]: "" }))),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsIn(record)), odd, (path, value) =>
        expectUsedOrKept(JSON.stringify(replaced(record, path, value))),
      ),
      { numRuns: 120 },
    );
  });

  it.each([
    ["from a newer version", (text: string) => text.replace('"v":1', '"v":2')],
    ["that began at no time", (text: string) => text.replace(/"created":\d+/, '"created":-2.3e60')],
    ["without a cookie", (text: string) => text.replace('"cookie":', '"biscuit":')],
    ["with __proto__", (text: string) => text.replace("{", '{"__proto__":{"polluted":1},')],
    ["with __proto__ further down", (text: string) => text.replace('"form":{', '"form":{"__proto__":{"polluted":1},')],
    ["with __proto__ in disguise", (text: string) => text.replace("{", String.raw`{"\u005f_proto__":{"polluted":1},`)],
    [
      "with an end of its cookie that is no date",
      (text: string) => text.replace(/"expires":"[^"]*"/, '"expires":{"toString":""}'),
    ],
    ["nested too deep", (text: string) => text.replace("{", `{"deep":${"[".repeat(9_000)}${"]".repeat(9_000)},`)],
    ["huge, and no JSON", (text: string) => `${text.slice(0, -1)}${" ".repeat(10_000_000)}`],
    ["not UTF-8", (text: string) => Buffer.from(text.replace("Stift", "St\xefft"), "latin1")],
  ])("is kept, %s", async (_kind, damage) => {
    const { key, valid, expectKept } = await start(scheme);
    await client.set(key, damage(valid.toString()), "PX", 60_000);
    await expectKept();
  });

  it.each([
    // A handler has set it, or another store did: it is reckoned anew from originalMaxAge.
    ["ends at a number", (text: string) => text.replace(/"expires":"[^"]*"/, '"expires":60000')],
    ["began by a clock that is far behind", (text: string) => text.replace(/"created":\d+/, '"created":-1000')],
    ["began by a clock of finer steps", (text: string) => text.replace(/"created":\d+/, "$&.25")],
  ])("is a session where it %s", async (_kind, change) => {
    const { key, valid, use } = await start(scheme);
    const changed = change(valid.toString());
    expect(changed).not.toBe(valid.toString());
    await client.set(key, changed, "PX", 60_000);
    expect(await use()).toMatchObject({ isUsed: true, fields: { user: "alice" } });
    expect((await use()).isUsed).toBe(true);
  });

  it("is not one that names constructor, prototype or a session's methods", async () => {
    const { key, valid, use } = await start(scheme);
    const names = '{"constructor":{"prototype":{"polluted":1}},"prototype":1,"save":1,"hasOwnProperty":1,"toString":1,';
    await client.set(key, valid.toString().replace("{", names), "PX", 60_000);
    expect(await use()).toMatchObject({ isUsed: true, fields: { prototype: 1 } });
    expect(await use()).toMatchObject({ isUsed: true, fields: { prototype: 1 } });
  });
});

it("S11: stock express-session on RedisStore goes on without such a record too", async () => {
  const { key, valid, expectKept } = await start({ ids: "plain" }, "RedisStore");
  for (const record of ["{", '{"a":1}', valid.subarray(0, 40), valid.toString().replace('"v":1', '"v":2')]) {
    await client.set(key, record, "PX", 60_000);
    await expectKept();
  }
  await client.del(key);
  await client.rpush(key, "a");
  await expectKept();
});

/** What was merged with must have been a session: JSON with a cookie. */
function expectSession(record: Buffer): void {
  expect(JSON.parse(record.toString())).toHaveProperty("cookie");
}

type Path = readonly string[];

function pathsIn(value: unknown): Path[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, held]) => [[key], ...pathsIn(held).map((path) => [key, ...path])]);
}

function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value))
    return value.map((held, at) => (String(at) === key ? replaced(held, rest, by) : (held as unknown)));
  const fields = value as Record<string, unknown>;
  return { ...fields, [key]: replaced(fields[key], rest, by) };
}
