import { z } from "zod";
import { check, type Checked } from "../requests/validation.ts";
import type { Preferences } from "./preferences.ts";

/** What the preferences page offers; the stylesheet knows each by name. */
export const themes = ["system", "light", "dark"] as const;
export const accents = ["ink", "moss", "plum", "rust"] as const;

/** How pages look to a user. */
export interface Appearance {
  readonly theme: (typeof themes)[number];
  readonly accent: (typeof accents)[number];
}

/** Reads the preferences `theme` and `accent`; whatever else they hold, the first of each list is shown. */
export function appearanceOf(preferences: Preferences = {}): Appearance {
  return { theme: oneOf(themes, preferences["theme"]), accent: oneOf(accents, preferences["accent"]) };
}

const look = z.object({
  theme: z.enum(themes, "Choose one of the themes."),
  accent: z.enum(accents, "Choose one of the accents."),
});

/** Sets both parts of a look in place, or neither. */
export function setAppearance(preferences: Preferences, input: unknown): Checked<Appearance> {
  const checked = check(look, input);
  if (checked.valid) Object.assign(preferences, checked.value);
  return checked;
}

function oneOf<Name extends string>(names: readonly [Name, ...Name[]], value: unknown): Name {
  return names.find((name) => name === value) ?? names[0];
}
