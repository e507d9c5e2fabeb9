import { expect, test } from "vitest";
import { seededPeople } from "../src/database/seeded-people.ts";
import { personId } from "../src/people/people-query.ts";
import { checkChanges } from "../src/profiles/profile.ts";

const people = seededPeople();

test("the people of the directory are the same each time", () => {
  expect(seededPeople()).toEqual(people);
});

test("no two people have the same id or the same name", () => {
  expect(new Set(people.map(({ id }) => id)).size).toBe(people.length);
  expect(new Set(people.map(({ name }) => name)).size).toBe(people.length);
});

test("each person is as someone could have written it", () => {
  for (const { id, ...profile } of people) {
    expect(personId(id)).toBe(id);
    expect(checkChanges(profile)).toEqual({ valid: true, value: profile });
    for (const text of Object.values(profile)) expect(text).not.toBe("");
  }
});

test("a headline or a city is shared by some and not by most", () => {
  for (const field of ["headline", "city", "bio"] as const) {
    expect(new Set(people.map((person) => person[field])).size).toBeGreaterThanOrEqual(50);
  }
});
