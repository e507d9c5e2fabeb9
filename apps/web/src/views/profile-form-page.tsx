import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

/** The form that changes a profile. */
export function ProfileFormPage(props: { name: string; bio: string; messages?: FieldMessages }) {
  const { name, bio, messages = {} } = props;
  return (
    <>
      <h1>Edit profile</h1>
      <form method="post" action="/profile/edit" class="stack">
        <Field name="name" label="Name" value={name} messages={messages} autoComplete="name" />
        <Field name="bio" label="Bio" value={bio} messages={messages} kind="lines" />
        <p class="actions">
          <button type="submit">Save</button>
          <a href="/profile">Cancel</a>
        </p>
      </form>
    </>
  );
}
