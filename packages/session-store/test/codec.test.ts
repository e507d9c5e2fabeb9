import expressSession from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Codec, CorruptRecord, Snapshot, fieldsOf } from "../src/codec.ts";

const codec = new Codec(JSON);
const cookie = { originalMaxAge: 60_000, expires: "2030-01-01T00:00:00.000Z", httpOnly: true, path: "/" };
const meta = { v: 1, created: 1_700_000_000_000, writes: ["w-1"] } as const;

describe("the record", () => {
  it("keeps empty lists, empty objects and large numbers as they are", () => {
    const fields = { cookie, list: [], object: {}, large: 2 ** 53, fraction: 0.1, nothing: null };
    expect(codec.decode(codec.encode(new Snapshot(fields), meta)).fields).toEqual(fields);
  });

  it("tells the head of its own texts without parsing the rest", () => {
    const text = codec.encode(new Snapshot({ cookie, data: 1 }), meta);
    expect(codec.head(`${text.slice(0, -1)} this is not JSON`)).toEqual({
      created: meta.created,
      originalMaxAge: 60_000,
    });
    const open = codec.encode(new Snapshot({ cookie: { ...cookie, originalMaxAge: null } }), meta);
    expect(codec.head(open)).toEqual({ created: meta.created, originalMaxAge: null });
  });

  it("tells the head of texts that connect-redis wrote", () => {
    expect(codec.head(JSON.stringify({ cookie, data: 1 }))).toEqual({ created: undefined, originalMaxAge: 60_000 });
  });

  it("hides its metadata, and only that; a handler can't change it", () => {
    expect(codec.decode(codec.encode(new Snapshot({ cookie, __lockstep: { v: 1, created: 0 } }), meta)).meta).toEqual(
      meta,
    );
    expect(Object.keys(codec.decode(codec.encode(new Snapshot({ cookie, a: 1 }), meta)).fields)).toEqual([
      "cookie",
      "a",
    ]);
  });
});

describe("S11: a record that can't be used", () => {
  it.each([
    ["not JSON", "{"],
    ["cut short", codec.encode(new Snapshot({ cookie, data: "x" }), meta).slice(0, -3)],
    ["not an object", "[]"],
    ["null", "null"],
    ["without a cookie", '{"a":1}'],
    ["with a cookie that is none", '{"cookie":"x"}'],
    ["with __proto__", '{"cookie":{},"a":{"__proto__":{"x":1}}}'],
    ["with __proto__ in disguise", String.raw`{"cookie":{},"a":{"\u005f_proto__":{"x":1}}}`],
    ["nested too deep", `{"cookie":{},"a":${"[".repeat(600)}${"]".repeat(600)}}`],
    ["with a maxAge that is none", '{"cookie":{"maxAge":"1d"}}'],
    ["with an originalMaxAge that is none", '{"cookie":{"originalMaxAge":1e300}}'],
    ["with an expiry that is none", '{"cookie":{"expires":"tomorrow"}}'],
    ["with an attribute that no cookie has", '{"cookie":{"sameSite":"weird"}}'],
    ["from a newer version", '{"__lockstep":{"v":2},"cookie":{}}'],
    ["with damaged metadata", '{"__lockstep":{"v":1,"created":"x"},"cookie":{}}'],
  ])("is told apart: %s", (_name, text) => {
    expect(() => codec.decode(text)).toThrow(CorruptRecord);
  });

  it("is not one that only holds the words", () => {
    const fields = { cookie, note: 'the key "__proto__" is special \\u005f' };
    expect(codec.decode(codec.encode(new Snapshot(fields), meta)).fields).toEqual(fields);
  });

  it("is not one that is only large", () => {
    const fields = { cookie, list: Array.from({ length: 2_000 }, (_, index) => [index]) };
    expect(codec.decode(codec.encode(new Snapshot(fields), meta)).fields).toEqual(fields);
  });

  it("is never written, nor read, whatever the serializer makes of a key", () => {
    const poisoned = { cookie, form: JSON.parse('{"__proto__":{"admin":true}}') as unknown };
    expect(() => codec.encode(new Snapshot(poisoned), meta)).toThrow(TypeError);
    const base64 = {
      parse: (text: string) => JSON.parse(Buffer.from(text, "base64").toString()) as unknown,
      stringify: (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64"),
    };
    expect(() => new Codec(base64).encode(new Snapshot(poisoned), meta)).toThrow(TypeError);
    expect(() => new Codec(base64).decode(base64.stringify(poisoned))).toThrow(CorruptRecord);
  });
});

describe("S1: whether a session has changed", () => {
  const session = { cookie, a: { b: [1] }, c: "x" };
  const text = codec.encode(new Snapshot(session), meta);
  const head = { meta, expires: cookie.expires };

  it("is decided without the moving expiry of its cookie", () => {
    const later = { ...session, cookie: { ...cookie, expires: "2031-01-01T00:00:00.000Z" } };
    expect(codec.holds(text, head, new Snapshot(later))).toBe(true);
  });

  it("includes maxAge and the cookie's attributes", () => {
    expect(codec.holds(text, head, new Snapshot({ ...session, cookie: { ...cookie, originalMaxAge: 1 } }))).toBe(false);
    expect(codec.holds(text, head, new Snapshot({ ...session, cookie: { ...cookie, sameSite: "strict" } }))).toBe(
      false,
    );
  });

  it("is decided by content, not by order or spacing", () => {
    const spaced = JSON.stringify({ c: "x", a: { b: [1] }, cookie }, null, 2);
    expect(codec.holds(spaced, { meta: undefined, expires: cookie.expires }, new Snapshot(session))).toBe(true);
    expect(
      codec.holds(spaced, { meta: undefined, expires: cookie.expires }, new Snapshot({ ...session, c: "y" })),
    ).toBe(false);
  });
});

it("the fields of a live session hold its cookie as data, with its expiry", () => {
  // It counts originalMaxAge back from the expiry that it has just set: a millisecond later it is one less.
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const Cookie = expressSession.Cookie as unknown as new (options: object) => object;
  const fields = fieldsOf({ cookie: new Cookie({ maxAge: 1_000 }), a: 1 });
  expect(fields).toMatchObject({ a: 1, cookie: { originalMaxAge: 1_000, httpOnly: true, path: "/" } });
  expect((fields.cookie as { expires: unknown }).expires).toBeInstanceOf(Date);
});
