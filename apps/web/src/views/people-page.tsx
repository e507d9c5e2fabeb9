import type { Page } from "../people/directory.ts";
import { peoplePath } from "../people/people-query.ts";
import type { Profile } from "../profiles/profile.ts";
import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

interface PeoplePageProps extends Partial<Page<Profile>> {
  /** What was searched for. */
  readonly q: string;
  /** Whoever is signed in: their own card leads to its form. */
  readonly userId?: string | undefined;
  readonly messages?: FieldMessages;
}

/** The directory: a search, the cards of a page of people, and the ways to the pages beside it. */
export function PeoplePage({ q, people = [], previous, next, userId, messages = {} }: PeoplePageProps) {
  return (
    <>
      <h1>People</h1>
      <form action="/people" role="search" class="inline">
        <Field name="q" label="Name, headline or city" value={q} messages={messages} />
        <button type="submit">Search</button>
        {q !== "" && <a href="/people">Everyone</a>}
      </form>
      {people.length > 0 && (
        <ul class="cards">
          {people.map((person) => (
            <PersonCard person={person} isOwn={person.id === userId} />
          ))}
        </ul>
      )}
      {people.length === 0 && messages["q"] === undefined && <p class="empty">Nobody found.</p>}
      {(previous ?? next) && (
        <nav class="pager" aria-label="Pages">
          {previous && (
            <a rel="prev" href={peoplePath(previous)}>
              ← Previous
            </a>
          )}
          {next && (
            <a rel="next" href={peoplePath(next)}>
              Next →
            </a>
          )}
        </nav>
      )}
    </>
  );
}

function PersonCard({ person, isOwn }: { person: Profile; isOwn: boolean }) {
  const { id, name, headline, city } = person;
  return (
    <li class={isOwn ? "card own" : "card"}>
      <h2>
        <a href={`/people/${id}`}>{name}</a>
      </h2>
      <p>{headline}</p>
      <p class="city">{city}</p>
      {isOwn && (
        <p class="edit">
          <a href="/profile/edit">Edit profile</a>
        </p>
      )}
    </li>
  );
}
