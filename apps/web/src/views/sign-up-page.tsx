import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

/** The form that opens an account. The password is never sent back. */
export function SignUpPage({ username = "", messages = {} }: { username?: string; messages?: FieldMessages }) {
  return (
    <>
      <h1>Open an account</h1>
      <form method="post" action="/sign-up" class="stack">
        <Field
          name="username"
          label="Username"
          value={username}
          messages={messages}
          hint="3 to 32 letters, digits, dots, hyphens or underscores."
          autoComplete="username"
        />
        <Field
          name="password"
          label="Password"
          kind="secret"
          messages={messages}
          hint="At least 8 characters."
          autoComplete="new-password"
        />
        <p class="actions">
          <button type="submit">Open an account</button>
          <a href="/sign-in">Sign in instead</a>
        </p>
      </form>
    </>
  );
}
