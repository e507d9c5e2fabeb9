import { z } from "zod";
import { check, invalid, visibleLine, type Checked } from "../requests/validation.ts";

/** With the preferences' bound, this keeps a session within what the session store takes. */
const maxBytes = 24 * 1_024;

const entry = z.object({
  item: z
    .string("Name an item.")
    .trim()
    .min(1, "Name an item.")
    .max(80, "Use at most 80 characters.")
    .regex(visibleLine, "Use letters, digits or signs, without control characters."),
});

/** Appends an item in place: two tabs that add at the same moment append to one list, which the session store can merge. */
export function addToCart(cart: string[], input: unknown): Checked<string[]> {
  const checked = check(entry, input);
  if (!checked.valid) return checked;
  if (Buffer.byteLength(JSON.stringify([...cart, checked.value.item])) > maxBytes) {
    return invalid({ item: "The cart is full. Remove something first." });
  }
  cart.push(checked.value.item);
  return { valid: true, value: cart };
}

/** Takes the first such item out, in place. By name: a position may be another item's by the time the form arrives. */
export function removeFromCart(cart: string[], item: string): void {
  const position = cart.indexOf(item);
  if (position !== -1) cart.splice(position, 1);
}
