/**
 * Tells whether `value` can name a server: 1 to 32 letters, digits and hyphens.
 * The same rule guards the configuration and what browsers send back, so a name never needs escaping in a cookie or a URL.
 */
export function isServerName(value: unknown): value is string {
  return typeof value === "string" && /^[a-z0-9][a-z0-9-]{0,31}$/i.test(value);
}
