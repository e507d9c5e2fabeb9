import { isDeepStrictEqual } from "node:util";
import { isPlainObject, ownValue, pointerTo } from "./json.ts";

/**
 * Decides a value that two requests changed.
 *
 * Each argument is `undefined` where that side has no such value; so is the result, to delete it.
 */
export type Resolver = (base: unknown, mine: unknown, theirs: unknown) => unknown;

/** How conflicts are decided. Paths are JSON Pointers (RFC 6901), such as `/cart/items`. */
export interface MergeRules {
  /** Values that are only ever taken whole: never merged inside, never appended to. */
  readonly atomicPaths: ReadonlySet<string>;
  /** Values that a rule of the user's decides. */
  readonly resolvers: ReadonlyMap<string, Resolver>;
  /** Theirs has come of base by a merge, so that a list may have others' items before base's. */
  readonly isRebase?: boolean;
}

/** No rules but the common ones. */
export const withoutRules: MergeRules = { atomicPaths: new Set(), resolvers: new Map() };

/** For what a session has become since its commit began, onto what that commit has stored. */
export const rebasing: MergeRules = { ...withoutRules, isRebase: true };

/** A merged value and the paths at which both sides had changed the very same value, so that mine replaced theirs. */
export interface Merged {
  readonly value: Record<string, unknown>;
  readonly conflicts: readonly string[];
}

/**
 * S2: merges two changes of one session, three ways.
 *
 * `base` is what mine was loaded as, `theirs` what has been stored meanwhile, `mine` the later commit. With the base, a
 * key that one side lacks is known to be deleted (or known to be new), which two-way merges get wrong. Pure: the
 * arguments are not changed, the result may share parts with them.
 */
export function mergeSessions(
  base: Record<string, unknown>,
  mine: Record<string, unknown>,
  theirs: Record<string, unknown>,
  rules: MergeRules,
): Merged {
  const conflicts: string[] = [];
  const value = mergeObjects({ base, mine, theirs, path: "", rules, conflicts });
  return { value, conflicts };
}

interface Sides<T> {
  readonly base: T | undefined;
  readonly mine: T;
  readonly theirs: T;
  readonly path: string;
  readonly rules: MergeRules;
  readonly conflicts: string[];
}

function mergeObjects(sides: Sides<Record<string, unknown>>): Record<string, unknown> {
  const { base = {}, mine, theirs } = sides;
  // Theirs first: keys keep the order in which they were stored.
  const keys = [...new Set([...Object.keys(theirs), ...Object.keys(mine)])];
  const merged = keys.map((key): [string, unknown] => [
    key,
    mergeValue({
      ...sides,
      base: ownValue(base, key),
      mine: ownValue(mine, key),
      theirs: ownValue(theirs, key),
      path: pointerTo(sides.path, key),
    }),
  ]);
  // Not by assignment, which would make a prototype of a key named `__proto__`.
  return Object.fromEntries(merged.filter(([, value]) => value !== undefined));
}

function mergeValue(sides: Sides<unknown>): unknown {
  const { base, mine, theirs, path, rules, conflicts } = sides;
  if (isDeepStrictEqual(mine, base)) return theirs;
  if (isDeepStrictEqual(theirs, base)) return mine;

  const resolver = rules.resolvers.get(path);
  if (resolver) return resolver(base, mine, theirs);

  if (!rules.atomicPaths.has(path)) {
    if (isPlainObject(mine) && isPlainObject(theirs) && (base === undefined || isPlainObject(base))) {
      return mergeObjects({ ...sides, base, mine, theirs });
    }
    const appended = mergeAppends(base, mine, theirs);
    if (appended) return appended;
    // Else mine would replace theirs, and its next commit would take others' items for deleted.
    if (rules.isRebase && isList(base) && isList(mine) && isList(theirs) && startsWith(mine, base)) {
      return theirs.concat(mine.slice(base.length));
    }
  }

  if (isDeepStrictEqual(mine, theirs)) return mine;
  conflicts.push(path);
  return mine;
}

/**
 * Both sides appended to the same list: both additions stay, in the order of their commits; twice the same item is two
 * items. A list that both created counts as appended to an empty one, but where they created the very same list it is
 * taken for the same default made twice.
 */
export function mergeAppends(base: unknown, mine: unknown, theirs: unknown): unknown[] | undefined {
  if (!isList(mine) || !isList(theirs)) return undefined;
  if (base === undefined) return isDeepStrictEqual(mine, theirs) ? mine : [...theirs, ...mine];
  if (!isList(base) || !startsWith(mine, base) || !startsWith(theirs, base)) return undefined;
  return [...theirs, ...mine.slice(base.length)];
}

function startsWith(list: unknown[], start: unknown[]): boolean {
  return list.length >= start.length && isDeepStrictEqual(list.slice(0, start.length), start);
}

/**
 * A resolver for counters: both increments count. A side without a number counts as 0.
 *
 * @param base the number both started from @param mine the later commit's @param theirs the earlier commit's
 * @returns theirs plus the change that mine made
 */
export const sum: Resolver = (base, mine, theirs) => number(theirs) + number(mine) - number(base);

/**
 * A resolver for lists that are sets: what either side added is in, what either side removed is out.
 *
 * @param base the list both started from @param mine the later commit's @param theirs the earlier commit's
 * @returns the list without repetitions, in the order of the commits
 */
export const union: Resolver = (base, mine, theirs) => {
  const [before, ours, others] = [list(base), list(mine), list(theirs)];
  const [wasThere, isOurs, isIn] = [new Contents(before), new Contents(ours), new Contents([])];
  const kept = others.filter((item) => isOurs.has(item) || !wasThere.has(item));
  const added = ours.filter((item) => !wasThere.has(item));
  return [...kept, ...added].filter((item) => isIn.add(item));
};

/** Items by what they hold, where a Set goes by which object it is. Comparing each with each would take minutes for a full record. */
class Contents {
  readonly #byText = new Map<string, unknown[]>();

  constructor(items: unknown[]) {
    for (const item of items) this.add(item);
  }

  has(item: unknown): boolean {
    return this.#alike(item).some((other) => isDeepStrictEqual(item, other));
  }

  /** @returns whether it was not there before */
  add(item: unknown): boolean {
    if (this.has(item)) return false;
    this.#byText.set(textOf(item), [...this.#alike(item), item]);
    return true;
  }

  #alike(item: unknown): unknown[] {
    return this.#byText.get(textOf(item)) ?? [];
  }
}

/** The same for equal items; it may be the same for others. */
function textOf(item: unknown): string {
  const inOrder = (_key: string, value: unknown): unknown => {
    if (typeof value === "bigint") return String(value);
    return isPlainObject(value) ? Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)) : value;
  };
  return JSON.stringify([item], inOrder);
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function list(value: unknown): unknown[] {
  return isList(value) ? value : [];
}

function isList(value: unknown): value is unknown[] {
  return Array.isArray(value);
}
