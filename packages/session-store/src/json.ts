/** Whether a value is a plain object: what JSON calls an object, not an array, a date or an instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Whether a parsed text has a key `__proto__` anywhere. Assigning such a key elsewhere would set a prototype.
 *
 * The text is looked at first, since nearly none needs the walk: JSON spells the key in full, or with a `\u` escape.
 */
export function hasPrototypeKey(text: string, value: unknown): boolean {
  return /__proto__|\\u/.test(text) && walk(value);
}

function walk(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Object.hasOwn(value, "__proto__")) return true;
  return Object.values(value).some(walk);
}
