import type { FieldMessages } from "../requests/validation.ts";

interface FieldProps {
  readonly name: string;
  readonly label: string;
  /** A line of text, several lines, or a secret: that is never sent back to the browser. */
  readonly kind?: "line" | "lines" | "secret";
  readonly value?: string;
  readonly messages?: FieldMessages;
  readonly hint?: string;
  readonly autoComplete?: string;
}

/** A labelled input with its hint and, if what was sent is wrong, what to change. */
export function Field({ name, label, kind = "line", value = "", messages = {}, hint, autoComplete }: FieldProps) {
  const message = messages[name];
  const describedBy = [hint && `${name}-hint`, message && `${name}-message`].filter(Boolean).join(" ");
  const control = {
    id: name,
    name,
    autoComplete: autoComplete ?? "off",
    "aria-invalid": message !== undefined,
    "aria-describedby": describedBy || undefined,
  };
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {hint && (
        <p class="hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
      {message && (
        <p class="message" id={`${name}-message`}>
          {message}
        </p>
      )}
      {kind === "line" && <input type="text" value={value} autoCapitalize="off" {...control} />}
      {kind === "lines" && <textarea rows={5} value={value} {...control} />}
      {kind === "secret" && <input type="password" {...control} />}
    </div>
  );
}
