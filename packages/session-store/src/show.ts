import { isDeepStrictEqual } from "node:util";
import type { SessionFields } from "./codec.ts";
import { isPlainObject } from "./json.ts";

/**
 * Makes a live session's object show `wanted`, given that it shows `shown`.
 *
 * What is the same stays untouched, and lists and objects are changed in place: a handler may hold on to `session.cart`
 * across a save.
 */
export function show(session: object, shown: SessionFields, wanted: SessionFields): void {
  const { cookie: shownCookie, ...shownRest } = shown;
  const { cookie, ...rest } = wanted as { cookie: SessionFields };
  showObject(session as Record<string, unknown>, shownRest, rest);
  if (!isDeepStrictEqual(shownCookie, cookie)) showCookie((session as { cookie: object }).cookie, cookie);
}

function showObject(live: Record<string, unknown>, shown: SessionFields, wanted: SessionFields): void {
  for (const key of Object.keys(shown)) if (!Object.hasOwn(wanted, key)) Reflect.deleteProperty(live, key);
  for (const [key, value] of Object.entries(wanted)) {
    const [there, before] = [live[key], shown[key]];
    if (isDeepStrictEqual(before, value)) continue;
    if (Array.isArray(there) && Array.isArray(value)) there.splice(0, there.length, ...(value as unknown[]));
    else if (isPlainObject(there) && isPlainObject(before) && isPlainObject(value)) showObject(there, before, value);
    else live[key] = value;
  }
}

/** In this order: express-session's Cookie derives originalMaxAge from expires when that is set. */
function showCookie(live: object, { expires, originalMaxAge, ...attributes }: SessionFields): void {
  Object.assign(live, attributes, { expires: typeof expires === "string" ? new Date(expires) : expires });
  Object.assign(live, { originalMaxAge });
}
