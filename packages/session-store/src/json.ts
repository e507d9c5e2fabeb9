/** Whether a value is a plain object: what JSON calls an object, not an array, a date or an instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A value of an object's own, `undefined` if it has none of that name. */
export function ownValue(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** The JSON Pointer (RFC 6901) of a key below another's. */
export function pointerTo(parent: string, key: string): string {
  return `${parent}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** Deeper data could not be compared, merged or written again without exhausting the stack. */
const maxDepth = 500;

/**
 * What makes parsed JSON unsafe to work with, if anything: a key `__proto__` anywhere, since assigning it elsewhere would
 * set a prototype, or nesting beyond {@link maxDepth}.
 *
 * The text is looked at first, since nearly none needs the walk: JSON spells the key in full or with a `\u` escape, and
 * each level needs a bracket.
 */
export function unsafety(text: string, value: unknown): string | undefined {
  const mayHaveKey = /__proto__|\\u/.test(text);
  const mayBeDeep = text.length > maxDepth && (text.match(/[[{]/g)?.length ?? 0) > maxDepth;
  if (!mayHaveKey && !mayBeDeep) return undefined;
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxDepth) return `nested deeper than ${maxDepth} levels`;
    const objects = level.filter((item) => typeof item === "object" && item !== null);
    if (objects.some((object) => Object.hasOwn(object, "__proto__"))) return 'a key named "__proto__"';
    level = objects.flatMap((object) => Object.values(object) as unknown[]);
  }
  return undefined;
}
