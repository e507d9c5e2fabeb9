import type { Profile } from "../profiles/profile.ts";
import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

type Sent = Pick<Profile, "name" | "headline" | "city" | "bio">;

/** The form that changes a profile. */
export function ProfileFormPage({ name, headline, city, bio, messages = {} }: Sent & { messages?: FieldMessages }) {
  return (
    <>
      <h1>Edit profile</h1>
      <form method="post" action="/profile/edit" class="stack">
        <Field name="name" label="Name" value={name} messages={messages} autoComplete="name" />
        <Field
          name="headline"
          label="Headline"
          value={headline}
          messages={messages}
          hint="What you do, in a few words."
          autoComplete="organization-title"
        />
        <Field name="city" label="City" value={city} messages={messages} autoComplete="address-level2" />
        <Field name="bio" label="Bio" value={bio} messages={messages} kind="lines" />
        <p class="actions">
          <button type="submit">Save</button>
          <a href="/profile">Cancel</a>
        </p>
      </form>
    </>
  );
}
