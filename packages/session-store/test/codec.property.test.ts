import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Codec, CorruptRecord, type RecordMeta, type SessionFields, Snapshot } from "../src/codec.ts";
import { isForward, movedWith, readForward, endedAs, rotatedTo } from "../src/forward.ts";
import { createKeyring } from "../src/keyring.ts";

const codec = new Codec(JSON);
const base64 = new Codec({
  parse: (text) => JSON.parse(Buffer.from(text, "base64").toString()) as unknown,
  stringify: (value) => Buffer.from(JSON.stringify(value)).toString("base64"),
});

const cookie = fc.record({
  originalMaxAge: fc.option(fc.integer({ min: 0, max: 1e12 })),
  expires: fc.option(
    fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(8e12) }).map((date) => date.toJSON()),
  ),
  httpOnly: fc.boolean(),
  path: fc.constantFrom("/", "/app"),
});
/** A session's fields as JSON has them, with any name that may be stored. */
const fields = fc
  .tuple(cookie, fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ stringUnit: "binary", maxDepth: 4 })))
  .map(([held, rest]): SessionFields => JSON.parse(JSON.stringify({ ...rest, cookie: held })) as SessionFields)
  .filter((held) => !JSON.stringify(held).includes("__"));
const name = fc.stringMatching(/^[\w-]{1,20}$/);
const meta: fc.Arbitrary<RecordMeta> = fc.record(
  {
    v: fc.constant(1 as const),
    created: fc.nat({ max: 1e13 }),
    writes: fc.array(name, { minLength: 1, maxLength: 8 }),
    user: fc.option(name),
  },
  { requiredKeys: ["v", "created", "writes"] },
);
const anyText = fc.string({ unit: "binary", maxLength: 300 });

describe("a record", () => {
  it.each([
    ["JSON", codec],
    ["another serializer", base64],
  ])("gives back what was stored with it: %s", (_name, used) => {
    fc.assert(
      fc.property(fields, fc.option(meta, { nil: undefined }), (held, about) => {
        const text = used.encode(new Snapshot(held), about);
        const decoded = used.decode(text);
        expect(isDeepStrictEqual(decoded.fields, held)).toBe(true);
        expect(decoded.meta).toEqual(about);
        expect(used.encode(new Snapshot(decoded.fields), decoded.meta)).toBe(used.encode(new Snapshot(held), about));
        expect(used.head(text)).toEqual({
          created: about?.created,
          user: about?.user,
          originalMaxAge: (held.cookie as SessionFields).originalMaxAge,
        });
      }),
    );
  });

  it("is never taken for a forward, an encrypted one or a destroyed one", () => {
    const plain = new Codec({ parse: (text) => text, stringify: (value) => (value as { text: string }).text });
    fc.assert(
      fc.property(fc.constantFrom("", ">", ">m", "E1."), anyText, (mark, text) => {
        fc.pre(mark !== "" || text === "");
        expect(() => plain.encode(new Snapshot({ cookie: {}, text: mark + text }), undefined)).toThrow(TypeError);
      }),
    );
  });

  it("S1: holds what was read from it, and nothing else", () => {
    fc.assert(
      fc.property(fields, meta, fields, (held, about, others) => {
        const text = codec.encode(new Snapshot(held), about);
        const decoded = codec.decode(text);
        const head = { meta: decoded.meta, expires: (decoded.fields.cookie as SessionFields).expires };
        expect(codec.holds(text, head, new Snapshot(decoded.fields))).toBe(true);
        const moved = { ...(decoded.fields.cookie as SessionFields), expires: null };
        expect(codec.holds(text, head, new Snapshot({ ...decoded.fields, cookie: moved }))).toBe(true);
        const changed = { ...others, cookie: held.cookie };
        expect(codec.holds(text, head, new Snapshot(changed))).toBe(isDeepStrictEqual(changed, held));
      }),
    );
  });

  it("S11: of any text is a session or corrupt, and nothing else happens", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anyText,
          fc.json(),
          fields.map((held) => JSON.stringify(held)),
        ),
        (text) => {
          for (const ask of [() => codec.decode(text), () => codec.head(text)]) {
            try {
              ask();
            } catch (error) {
              expect(error).toBeInstanceOf(CorruptRecord);
            }
          }
        },
      ),
    );
  });
});

describe("G9: an encrypted record", () => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const redisKey = fc.string({ minLength: 1 });

  it("is opened by each of its keys in turn, whichever is first by then", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { minLength: 2, maxLength: 4, comparator: isDeepStrictEqual }),
        anyText,
        redisKey,
        (keys, text, at) => {
          const [first = new Uint8Array(), ...others] = keys;
          const sealed = createKeyring({ keys: [first] }).seal(text, at);
          const rotated = createKeyring({ keys: [...others, first] });
          expect(rotated.open(sealed, at)).toBe(text);
          expect(rotated.isCurrent(sealed)).toBe(false);
          expect(() => createKeyring({ keys: others }).open(sealed, at)).toThrow(CorruptRecord);
          expect(() => rotated.open(sealed, `${at}x`)).toThrow(CorruptRecord);
        },
      ),
    );
  });

  it("that was changed, or is any text, is corrupt", () => {
    const keyring = createKeyring({ keys: [new Uint8Array(32)] });
    const change = fc.record({
      at: fc.nat(1_000),
      by: fc.string({ unit: "binary", minLength: 1, maxLength: 3 }),
      cut: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.string(), redisKey, change, (text, at, { at: where, by, cut }) => {
        const sealed = keyring.seal(text, at);
        const position = where % sealed.length;
        const changed = sealed.slice(0, position) + by + sealed.slice(position + cut);
        // The last character may spell the same bytes in several ways.
        let opened: string | undefined;
        try {
          opened = keyring.open(changed, at);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptRecord);
        }
        expect([undefined, text]).toContain(opened);
      }),
    );
  });
});

describe("S7: a forward", () => {
  const id = fc.string({ minLength: 1, maxLength: 40 });

  it("leads whoever knows the old id to the new one, and nobody else", () => {
    fc.assert(
      fc.property(id, id, id, (oldId, newId, otherId) => {
        const successor = { id: newId, user: "whose" };
        for (const [kind, raw] of [
          ["rotated", rotatedTo(oldId, successor)],
          ["ended", endedAs(oldId, successor)],
        ] as const) {
          expect(isForward(raw)).toBe(true);
          expect(readForward(raw, oldId)).toEqual({ kind, ...successor });
          if (otherId !== oldId) expect(readForward(raw, otherId)).toBeUndefined();
        }
      }),
      { numRuns: 50 },
    );
  });

  it("carries a record until that has arrived", () => {
    fc.assert(
      fc.property(anyText, id, (text, oldId) => {
        expect(readForward(movedWith(text), oldId)).toEqual({ kind: "moved", record: text === "" ? undefined : text });
      }),
    );
  });

  it("of any text leads nowhere", () => {
    fc.assert(
      fc.property(anyText, id, (text, oldId) => {
        expect(readForward(`>r${text}`, oldId)).toBeUndefined();
      }),
    );
  });
});
