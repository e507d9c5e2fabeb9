import { accents, appearanceOf, themes } from "../preferences/appearance.ts";
import type { Preferences } from "../preferences/preferences.ts";
import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";
import { RemoveForm } from "./remove-form.tsx";

interface PreferencesPageProps {
  readonly preferences: Preferences;
  /** A preference that was sent and could not be stored. */
  readonly refused?: { readonly key: string; readonly value: string };
  readonly messages?: FieldMessages;
}

/** All preferences, and two of them, theme and accent, that change how each page looks. */
export function PreferencesPage({ preferences, refused, messages = {} }: PreferencesPageProps) {
  const appearance = appearanceOf(preferences);
  return (
    <>
      <h1>Preferences</h1>
      <form method="post" action="/preferences/appearance" class="stack">
        <Choice name="theme" label="Theme" options={themes} chosen={appearance.theme} />
        <Choice name="accent" label="Accent" options={accents} chosen={appearance.accent} />
        <p class="actions">
          <button type="submit">Use this look</button>
        </p>
      </form>
      <h2>All preferences</h2>
      <PreferenceRows preferences={preferences} />
      <form method="post" action="/preferences" class="inline">
        <Field name="key" label="Key" value={refused?.key ?? ""} messages={messages} />
        <Field name="value" label="Value" value={refused?.value ?? ""} messages={messages} />
        <button type="submit">Set</button>
      </form>
    </>
  );
}

function Choice(props: { name: string; label: string; options: readonly string[]; chosen: string }) {
  const { name, label, options, chosen } = props;
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      {options.map((option) => (
        <label data-choice={option}>
          <input type="radio" name={name} value={option} checked={option === chosen} />
          <span>{option}</span>
        </label>
      ))}
    </fieldset>
  );
}

function PreferenceRows({ preferences }: { preferences: Preferences }) {
  const entries = Object.entries(preferences);
  if (entries.length === 0) return <p class="empty">None set. Whatever you set here is in your session.</p>;
  return (
    <ul class="rows">
      {entries.map(([name, value]) => (
        <li>
          <span>
            <strong>{name}</strong> <code>{JSON.stringify(value)}</code>
          </span>
          <RemoveForm action="/preferences/remove" field="key" value={name} />
        </li>
      ))}
    </ul>
  );
}
