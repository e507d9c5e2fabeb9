import { z } from "zod";
import { check, invalid, type Checked } from "../requests/validation.ts";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A user's settings, in the session: any JSON under keys of the user's choice. */
export type Preferences = Record<string, Json>;

/** With the cart's bound, this keeps a session well within what the session store takes, unless many add at one moment. */
const maxBytes = 24 * 1_024;
const maxDepth = 16;

/** Such keys lead from an object to its prototype in code less careful than this, so nobody may store them. */
const unsafeKeys: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

const key = z
  .string("Choose a key.")
  .regex(/^[\w.:-]{1,64}$/, "Use 1 to 64 letters, digits, dots, colons, hyphens or underscores.")
  .refine((name) => !unsafeKeys.has(name), "This key cannot be used.");

const value = z.custom<Json>(
  (input) => isStorable(input, maxDepth),
  `Send a value: any JSON, at most ${maxDepth} levels deep, without keys like __proto__.`,
);

const preference = z.object({ key, value });

/** Sets one preference in place. */
export function setPreference(preferences: Preferences, input: unknown): Checked<z.output<typeof preference>> {
  const checked = check(preference, input);
  if (!checked.valid) return checked;
  const { key, value } = checked.value;
  if (Buffer.byteLength(JSON.stringify({ ...preferences, [key]: value })) > maxBytes) {
    return invalid({ value: "There is no room left for this. Remove a preference or send a shorter value." });
  }
  preferences[key] = value;
  return checked;
}

/** Removes one preference in place, if it is there. */
export function removePreference(preferences: Preferences, input: unknown): Checked<string> {
  const checked = check(z.object({ key }), input);
  if (!checked.valid) return checked;
  Reflect.deleteProperty(preferences, checked.value.key);
  return { valid: true, value: checked.value.key };
}

function isStorable(input: unknown, depth: number): input is Json {
  // 1e400 is a number in JSON, and Infinity here, which JSON can't hold.
  if (typeof input === "number") return Number.isFinite(input);
  if (typeof input !== "object" || input === null) return input !== undefined;
  if (depth === 0) return false;
  return Object.entries(input).every(([name, part]) => !unsafeKeys.has(name) && isStorable(part, depth - 1));
}
