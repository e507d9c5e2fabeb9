import fc from "fast-check";
import { expect, test } from "vitest";
import { checkPeopleQuery, peoplePath, personId } from "../src/people/people-query.ts";

const id = "5eed0000-0000-4000-8000-00000000000a";

test("without parameters, everyone is asked for from the start", () => {
  expect(checkPeopleQuery({})).toEqual({ valid: true, value: { q: "" } });
  expect(peoplePath({ q: "" })).toBe("/people");
});

test("the address of a page is read back as what it was made of, whatever is searched for", () => {
  const search = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.replaceAll(/[\p{Cc}\p{Cs}]/gu, ""));
  const edge = fc.constantFrom({}, { after: id }, { before: id });
  fc.assert(
    fc.property(search, edge, (q, person) => {
      const query = { q: q.trim(), ...person };
      const { searchParams } = new URL(peoplePath(query), "http://localhost");
      expect(checkPeopleQuery(Object.fromEntries(searchParams))).toEqual({ valid: true, value: query });
    }),
  );
});

test.for([
  ["q", { q: "x".repeat(81) }],
  ["q", { q: "nothing\u0000hidden" }],
  ["q", { q: ["two", "searches"] }],
  ["after", { after: "nobody" }],
  ["before", { before: "' or true --" }],
  ["before", { after: id, before: id }],
] as const)("%s is what to change in %o", ([field, input]) => {
  const checked = checkPeopleQuery(input);
  expect(checked.valid ? [] : Object.keys(checked.fields)).toEqual([field]);
});

test("one person has one id, however an address writes it", () => {
  expect(personId(id.toUpperCase())).toBe(id);
  expect(personId("alice")).toBeUndefined();
});
