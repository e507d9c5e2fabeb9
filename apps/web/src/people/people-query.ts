import { z } from "zod";
import { anyLine, check, type Checked } from "../requests/validation.ts";

const person = z.uuid("Use the id of a person.").toLowerCase();

const query = z
  .object({
    q: z
      .string("Search for one text.")
      .trim()
      .max(80, "Use at most 80 characters.")
      .regex(anyLine, "Leave out control characters.")
      .default(""),
    after: person.optional(),
    before: person.optional(),
  })
  .refine(({ after, before }) => after === undefined || before === undefined, {
    path: ["before"],
    error: "Ask for those after a person or before one, not both.",
  });

/** What a page of the directory shows: who matches the search `q`, from a person on or up to one. */
export type PeopleQuery = z.output<typeof query>;

/** Checks the query of a request for a page of the directory. */
export function checkPeopleQuery(input: unknown): Checked<PeopleQuery> {
  return check(query, input);
}

/** A person's id as an address has it, written as the database writes it; undefined if it can be nobody's. */
export function personId(text: string): string | undefined {
  return person.safeParse(text).data;
}

/** The address of a page of the directory. */
export function peoplePath(query: PeopleQuery): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") parameters.set(name, value);
  return parameters.size === 0 ? "/people" : `/people?${parameters.toString()}`;
}
