import { demoAccounts, demoPassword } from "../database/seeds.ts";
import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

interface SignInPageProps {
  readonly username?: string;
  readonly messages?: FieldMessages;
  readonly problem?: string;
}

/** The sign-in form, with the demo accounts beside it. The password is never sent back. */
export function SignInPage({ username = "", messages = {}, problem }: SignInPageProps) {
  return (
    <>
      <h1>Sign in</h1>
      <div class="columns">
        <form method="post" action="/sign-in" class="stack">
          {problem !== undefined && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          <Field name="username" label="Username" value={username} messages={messages} autoComplete="username" />
          <Field name="password" label="Password" kind="secret" messages={messages} autoComplete="current-password" />
          <p class="actions">
            <button type="submit">Sign in</button>
            <a href="/sign-up">Open an account</a>
          </p>
        </form>
        <aside class="note">
          <h2>Demo accounts</h2>
          <dl>
            <dt>Username</dt>
            <dd>
              {demoAccounts.map((account, position) => (
                <>
                  {position > 0 && " or "}
                  <code>{account.username}</code>
                </>
              ))}
            </dd>
            <dt>Password</dt>
            <dd>
              <code>{demoPassword}</code>
            </dd>
          </dl>
        </aside>
      </div>
    </>
  );
}
