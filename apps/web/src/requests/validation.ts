import type { z } from "zod";
import { RequestError } from "./request-error.ts";

/** What is wrong with a form or a JSON body: a sentence for each field that must change. */
export type FieldMessages = Readonly<Record<string, string>>;

/** Input that was checked: its value, or what to tell the user. */
export type Checked<Value> = { valid: true; value: Value } | { valid: false; fields: FieldMessages };

/** One line of text that shows: no control characters, no halves of surrogate pairs, something to see. */
export const visibleLine = /^(?=.*[\p{L}\p{N}\p{P}\p{S}])[^\p{Cc}\p{Cs}]*$/u;

/** One line of text that may be empty. */
export const anyLine = /^[^\p{Cc}\p{Cs}]*$/u;

/** Checks what a client sent; the first message of each field counts. */
export function check<Value>(schema: z.ZodType<Value>, input: unknown): Checked<Value> {
  if (Array.isArray(input) || (typeof input !== "object" && input != null)) {
    return invalid({ body: "Send an object with fields." });
  }
  const result = schema.safeParse(input ?? {});
  if (result.success) return { valid: true, value: result.data };
  const messages = result.error.issues.map(({ path, message }) => [String(path[0] ?? "body"), message] as const);
  return invalid(Object.fromEntries(messages.reverse()));
}

/** The answer for input that is wrong for a reason no schema knows, such as a name already taken. */
export function invalid(fields: FieldMessages): { valid: false; fields: FieldMessages } {
  return { valid: false, fields };
}

/**
 * The value of input that must be right to go on.
 * @throws {RequestError} 422 with the field messages
 */
export function requireValid<Value>(checked: Checked<Value>): Value {
  if (checked.valid) return checked.value;
  throw new RequestError(422, "invalid-input", "Some fields need another look.", checked);
}
