import { isDeepStrictEqual } from "node:util";
import { isPlainObject, ownValue, pointerTo } from "./json.ts";
import { mergeAppends } from "./merge.ts";

/** Where a save made disappear what others had stored meanwhile: JSON Pointers (RFC 6901), such as `/cart/items`. */
export interface OverwrittenPaths {
  /** Values that this request never changed, and that its save set back to what it had loaded. */
  readonly setBack: readonly string[];
  /** Values that both had changed, differently: this request's took the place of the other's. */
  readonly replaced: readonly string[];
}

/** One value in the four states that tell who lost what. */
interface States<T> {
  /** What the request loaded. */
  readonly base: T | undefined;
  /** What it saved. */
  readonly mine: T;
  /** What was stored just before. */
  readonly theirs: T;
  /** What was stored afterwards: of a store that merges, neither mine nor theirs. */
  readonly after: T;
}

/**
 * What one save of a session overwrote. Pure.
 *
 * A value counts if others had changed it since it was loaded, if that is not what this request made of it too, and if
 * afterwards the store holds exactly what this request saved. So a store that merges loses nothing here, and what a
 * third request has done in between is not blamed on this one.
 */
export function overwrittenPaths(states: States<Record<string, unknown>>): OverwrittenPaths {
  const paths = { setBack: [], replaced: [] };
  compareObjects(states, "", paths);
  return paths;
}

function compareObjects(
  { base = {}, mine, theirs, after }: States<Record<string, unknown>>,
  path: string,
  paths: { setBack: string[]; replaced: string[] },
): void {
  for (const key of new Set([...Object.keys(base), ...Object.keys(theirs)])) {
    const value = (object: Record<string, unknown>) => ownValue(object, key);
    const states = { base: value(base), mine: value(mine), theirs: value(theirs), after: value(after) };
    compareValues(states, pointerTo(path, key), paths);
  }
}

function compareValues(
  { base, mine, theirs, after }: States<unknown>,
  path: string,
  paths: { setBack: string[]; replaced: string[] },
): void {
  if (isDeepStrictEqual(theirs, base) || isDeepStrictEqual(theirs, after)) return;
  const areObjects = isPlainObject(mine) && isPlainObject(theirs) && isPlainObject(after);
  if (areObjects && (base === undefined || isPlainObject(base))) {
    compareObjects({ base, mine, theirs, after }, path, paths);
    return;
  }
  if (!isDeepStrictEqual(after, mine)) return;
  // A list may hold the other's additions although it is exactly what was saved: they added nothing.
  const both = mergeAppends(base, mine, theirs);
  if (both && isDeepStrictEqual(after, both)) return;
  paths[isDeepStrictEqual(mine, base) ? "setBack" : "replaced"].push(path);
}
