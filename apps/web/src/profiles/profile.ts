import { z } from "zod";
import { anyLine, check, visibleLine, type Checked } from "../requests/validation.ts";

/** What someone tells about themselves. It is JSON through and through, so that it can be kept as text. */
export interface Profile {
  readonly id: string;
  readonly name: string;
  readonly headline: string;
  readonly city: string;
  readonly bio: string;
  /** When it was last changed, in ISO 8601. */
  readonly updatedAt: string;
}

const changes = z.object({
  name: z
    .string("Enter your name.")
    .trim()
    .min(1, "Enter your name.")
    .max(80, "Use at most 80 characters.")
    .regex(visibleLine, "Use letters, digits or signs, without control characters.")
    .optional(),
  headline: shortLine("Write your headline as text."),
  city: shortLine("Write your city as text."),
  bio: z
    .string("Write your bio as text.")
    .transform((text) => text.replaceAll("\r\n", "\n").trim())
    .pipe(
      z
        .string()
        .max(1_000, "Use at most 1000 characters.")
        .regex(/^([^\p{Cc}\p{Cs}]|\n|\t)*$/u, "Leave out control characters."),
    )
    .optional(),
});

/** What to change in a profile: a field that is left out stays as it is. */
export type ProfileChanges = z.output<typeof changes>;

/** Checks the changes that a client sent. */
export function checkChanges(input: unknown): Checked<ProfileChanges> {
  return check(changes, input);
}

function shortLine(error: string) {
  return z
    .string(error)
    .trim()
    .max(80, "Use at most 80 characters.")
    .regex(anyLine, "Leave out control characters.")
    .optional();
}
