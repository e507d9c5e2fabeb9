import { CacheError } from "./errors.ts";

/** As it is: TypeScript leaves out that a function has no JSON. */
const stringify: (value: unknown) => string | undefined = JSON.stringify;

/** The revision as a text has it behind its first letter. */
export function revisionIn(revision: number): string {
  return `${revision}:`;
}

/**
 * A value as an entry holds it: `v<revision>:` and its JSON, or `m<revision>:` for `undefined`: the source has no such value.
 *
 * @throws {@link CacheError} `INVALID_VALUE` for what JSON can't carry: a function, a symbol, a BigInt, a cycle
 */
export function encode(value: unknown, revision: number): string {
  if (value === undefined) return `m${revisionIn(revision)}`;
  let json: string | undefined;
  try {
    json = stringify(value);
  } catch (error) {
    throw new CacheError("INVALID_VALUE", "A value to be cached can't be written as JSON.", { cause: error });
  }
  if (json === undefined) throw new CacheError("INVALID_VALUE", "A value to be cached has no form in JSON.");
  return `v${revisionIn(revision)}${json}`;
}

/** Whether the text stands for a value that the source does not have. */
export function isMissing(text: string): boolean {
  return text.startsWith("m") && text.endsWith(":");
}

/** Whether a text is a value of this revision, or tells that there is none; texts of entries may be neither. */
export function isValueOf(text: string, revision: number): boolean {
  return (text.startsWith("v") || text.startsWith("m")) && text.startsWith(revisionIn(revision), 1);
}

/** The bytes of the JSON in a text. */
export function sizeOf(text: string): number {
  return Buffer.byteLength(text) - startOfJson(text);
}

/**
 * The value of a text, deeply frozen: all callers of one tick are handed the same.
 *
 * @throws SyntaxError for a text that {@link encode} has not written
 */
export function decode<T>(text: string): Readonly<T> | undefined {
  if (isMissing(text)) return undefined;
  if (!text.startsWith("v")) throw new SyntaxError("An entry is in no format of this package.");
  return deepFreeze(JSON.parse(text.slice(startOfJson(text))) as T);
}

function startOfJson(text: string): number {
  return text.indexOf(":") + 1;
}

function deepFreeze<T>(value: T): Readonly<T> {
  if (typeof value !== "object" || value === null) return value;
  // Not by `for in`, which takes as long again as all the rest of it, most of all for an array.
  const parts: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  for (const part of parts) if (typeof part === "object") deepFreeze(part);
  return Object.freeze(value);
}
