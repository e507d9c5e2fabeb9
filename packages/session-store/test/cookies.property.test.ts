import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { sign } from "cookie-signature";
import express, { type RequestHandler } from "express";
import expressSession, { type SessionData } from "express-session";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RedisStore, session } from "../src/index.ts";
import { serve } from "./harness/app.ts";
import { livingKeys, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
const secret = "s";

/** What a request is told: its session's id, and whether it was there before. */
interface Told {
  readonly id: string;
  readonly known: boolean;
}

/** Stock express-session and ours on the same sessions, and the id of one of them. */
async function start() {
  const prefix = uniquePrefix();
  const store = new RedisStore({ client, prefix, ids: "plain" });
  const stockSession = expressSession({ store, secret, resave: false, saveUninitialized: false });
  const ourSession = session({ client, prefix, ids: "plain", secret });
  const tell: RequestHandler = (req, res) => {
    const fields = req.session as Partial<SessionData & { known: boolean }>;
    res.json({ id: req.sessionID, known: fields.known ?? false } satisfies Told);
  };
  const visit: RequestHandler = (req, _res, next) => {
    Object.assign(req.session, { known: true, at: performance.now() });
    next();
  };
  const [stock, ours] = [stockSession, ourSession].map((middleware) => {
    const app = express().use(middleware).get("/", tell).get("/visit", visit, tell);
    return serve(app);
  }) as [Promise<string>, Promise<string>];
  const bases = { stock: await stock, ours: await ours };
  const known = (await askRaw(`${bases.ours}/visit`, Buffer.alloc(0))).told.id;
  return {
    ...bases,
    known,
    ids: async () => (await livingKeys(client, prefix)).map((key) => key.slice(prefix.length)),
  };
}

/** Asks with a `Cookie` header of any bytes, which Node's own client would refuse to send. */
async function askRaw(url: string, cookie: Uint8Array): Promise<{ status: number; told: Told; cookies: string[] }> {
  const { port, pathname } = new URL(url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n`);
  socket.write(Buffer.concat([Buffer.from("Cookie: "), cookie, Buffer.from("\r\n\r\n")]));
  const [head = "", body = ""] = (await text(socket)).split("\r\n\r\n");
  const status = Number(head.split(" ")[1]);
  if (status !== 200) throw new Error(`${head}\n\n${body}`);
  return {
    status,
    told: JSON.parse(body) as Told,
    cookies: head.split("\r\n").filter((line) => /^set-cookie:/i.test(line)),
  };
}

/** Parts of a header: the session's cookie in every state, other cookies, anything. `known`: a session's id. */
function parts(known: string): fc.Arbitrary<string> {
  const valid = `s:${sign(known, secret)}`;
  const unknownIds = fc.constantFrom(
    "unknown",
    "",
    "h:unknown",
    "{tag}",
    "__proto__",
    "x".repeat(600),
    "é",
    `${known}x`,
  );
  const flipped = fc.record({ at: fc.nat(valid.length - 1), by: fc.integer({ min: 1, max: 3 }) }).map(({ at, by }) => {
    const changed = String.fromCharCode(valid.charCodeAt(at) ^ by);
    return valid.slice(0, at) + changed + valid.slice(at + 1);
  });
  const good = fc.constantFrom(valid, encodeURIComponent(valid), `"${valid}"`, ` ${valid} `);
  const value = fc.oneof(
    { weight: 4, arbitrary: good },
    fc.constantFrom(valid.slice(2), valid.slice(0, -1), `${valid}x`, `"${valid}`),
    unknownIds.map((id) => encodeURIComponent(`s:${sign(id, secret)}`)),
    unknownIds.map((id) => encodeURIComponent(`s:${sign(id, "another secret")}`)),
    flipped,
    flipped.map(encodeURIComponent),
    fc.constantFrom("", "s:", "s:.", "j:{}", "%", "s%3A%E0%A4%A", "%00", "s%3A%00.", "[object Object]", "undefined"),
    fc.integer({ min: 8_000, max: 9_000 }).map((length) => `s:${"a".repeat(length)}`),
  );
  const name = fc.constantFrom(
    "connect.sid",
    "connect.sid",
    "connect.sid",
    "Connect.sid",
    "connect",
    "__proto__",
    "a",
    "",
  );
  const anything = fc.string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
  });
  return fc.oneof(
    { weight: 3, arbitrary: fc.tuple(name, value).map((pair) => pair.join("=")) },
    { weight: 1, arbitrary: anything },
  );
}

describe("S11: a Cookie header", () => {
  it("of any content finds the session that express-session would find, and is never an error", async () => {
    const { stock, ours, known, ids } = await start();
    const before = await ids();
    const header = fc.tuple(
      fc.array(parts(known), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("; ", ";", ",", "; ; "),
    );
    let found = 0;
    await fc.assert(
      fc.asyncProperty(header, async ([some, separator]) => {
        // Node itself refuses more than 16 KB of headers.
        const cookie = Buffer.from(some.join(separator).slice(0, 15_000), "latin1");
        const [theirs, mine] = [await askRaw(stock, cookie), await askRaw(ours, cookie)];
        expect(mine.told.known).toBe(theirs.told.known);
        if (mine.told.known) found += 1;
        expect(mine.told.id === known).toBe(mine.told.known);
        expect(mine.cookies).toEqual([]);
      }),
      { numRuns: 700 },
    );
    expect(found).toBeGreaterThan(20);
    expect(await ids()).toEqual(before);
  });

  it("never gives a new session an id of its own", async () => {
    const { ours, known, ids } = await start();
    await fc.assert(
      fc.asyncProperty(fc.array(parts(known), { minLength: 1, maxLength: 3 }), async (some) => {
        const before = new Set(await ids());
        const { told, cookies } = await askRaw(
          `${ours}/visit`,
          Buffer.from(some.join("; ").slice(0, 15_000), "latin1"),
        );
        if (told.id === known) return;
        expect(told.id).toMatch(/^[\w-]{32}$/);
        expect(before.has(told.id)).toBe(false);
        expect(cookies).toHaveLength(1);
        expect((await ids()).filter((id) => !before.has(id))).toEqual([told.id]);
      }),
      { numRuns: 200 },
    );
  });

  it("may hold many cookies", async () => {
    const { ours, known } = await start();
    const many = Array.from({ length: 1_500 }, (_, at) => `c${at}=${at}`).join(";");
    const cookie = `${many.slice(0, 14_000)};connect.sid=${encodeURIComponent(`s:${sign(known, secret)}`)}`;
    expect((await askRaw(ours, Buffer.from(cookie))).told).toEqual({ id: known, known: true });
  });
});
