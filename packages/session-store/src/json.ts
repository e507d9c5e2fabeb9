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
 * @param json the value's text, if it is JSON: it is looked at first, since nearly none needs the walk
 */
export function unsafety(json: string | undefined, value: unknown): string | undefined {
  if (json !== undefined && !maySpellUnsafety(json)) return undefined;
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxDepth) return `nested deeper than ${maxDepth} levels`;
    const objects = level.filter((item) => typeof item === "object" && item !== null);
    if (objects.some((object) => Object.hasOwn(object, "__proto__"))) return 'a key named "__proto__"';
    // Each object once a level: what is reached by many ways would multiply.
    level = [...new Set(objects.flatMap((object) => Object.values(object) as unknown[]))];
  }
  return undefined;
}

/** JSON spells the key in full or with a `\u` escape, and each level needs a bracket. */
function maySpellUnsafety(json: string): boolean {
  if (json.includes("__proto__") || json.includes("\\u")) return true;
  return countOf("[", json) + countOf("{", json) > maxDepth;
}

/** How often a character is in a text, up to where that means too often. */
function countOf(character: string, text: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at !== -1 && count <= maxDepth; at = text.indexOf(character, at + 1))
    count += 1;
  return count;
}
