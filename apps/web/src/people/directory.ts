import type { Response } from "express";
import { sql } from "kysely";
import type { Database } from "../database/tables.ts";
import type { Profile } from "../profiles/profile.ts";
import type { Profiles } from "../profiles/profiles.ts";
import { toldLookupMany } from "../profiles/told-lookup.ts";
import type { PeopleQuery } from "./people-query.ts";

const pageSize = 24;

/** People in the order of their names, with what to ask for to see those before and after them, if there are any. */
export interface Page<Person> {
  readonly people: readonly Person[];
  readonly previous: PeopleQuery | undefined;
  readonly next: PeopleQuery | undefined;
}

/**
 * A page of the directory. The database says only who is on it; their profiles are read by id, like all profiles, and the
 * answer tells where they were.
 */
export async function readPage(
  parts: { database: Database; profiles: Profiles },
  query: PeopleQuery,
  res: Response,
): Promise<Page<Profile>> {
  const page = pageOf(await findIds(parts.database, query), query);
  const people = await toldLookupMany(parts.profiles, page.people, res);
  return { ...page, people: people.filter((profile) => profile !== undefined) };
}

/** Whoever is next on the way, and one more, which tells whether the way goes on. */
async function findIds(database: Database, { q, after, before }: PeopleQuery): Promise<string[]> {
  const [direction, beyond] = before === undefined ? (["asc", sql`>`] as const) : (["desc", sql`<`] as const);
  let people = database.selectFrom("profiles").select("id").orderBy("sort_name", direction).orderBy("id", direction);
  const edge = after ?? before;
  if (edge !== undefined) {
    const place = sql`(select sort_name, id from profiles where id = ${edge})`;
    people = people.where(sql<boolean>`(sort_name, id) ${beyond} ${place}`);
  }
  if (q !== "") people = people.where(sql<boolean>`words @@ ${wordsLike(q)}`);
  const rows = await people.limit(pageSize + 1).execute();
  return rows.map(({ id }) => id);
}

/** Each word of `q` must begin a word of the profile. `words_of` leaves no sign in a word that a tsquery could take for its own. */
function wordsLike(q: string) {
  return sql`(select string_agg(quote_literal(word) || ':*', ' & ')::tsquery from unnest(words_of(${q})) as word)`;
}

function pageOf(found: readonly string[], { q, after, before }: PeopleQuery): Page<string> {
  const isMore = found.length > pageSize;
  const onWay = found.slice(0, pageSize);
  const people = before === undefined ? onWay : onWay.reverse();
  // Whoever the visitor came from is on the other side.
  const isPrevious = before === undefined ? after !== undefined : isMore;
  const isNext = before === undefined ? isMore : true;
  const [first, last] = [people.at(0), people.at(-1)];
  return {
    people,
    previous: isPrevious && first !== undefined ? { q, before: first } : undefined,
    next: isNext && last !== undefined ? { q, after: last } : undefined,
  };
}
