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

/** A labelled input with its hint or, if what was sent is wrong, what to change. */
export function Field({ name, label, kind = "line", value = "", messages = {}, hint, autoComplete }: FieldProps) {
  const message = messages[name];
  const note = message ?? hint;
  const control = {
    id: name,
    name,
    autoComplete: autoComplete ?? "off",
    "aria-invalid": message !== undefined,
    "aria-describedby": note && `${name}-note`,
  };
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {note && (
        <p class={message ? "message" : "hint"} id={`${name}-note`}>
          {note}
        </p>
      )}
      {kind === "line" && <input type="text" value={value} autoCapitalize="off" {...control} />}
      {kind === "lines" && <textarea rows={5} value={value} {...control} />}
      {kind === "secret" && <input type="password" {...control} />}
    </div>
  );
}
