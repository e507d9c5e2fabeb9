import { createHash } from "node:crypto";

/** Memcached's own bound, in bytes. */
const maxLength = 250;

/** Before the digest of a key that is too long; in no other. */
const digestSign = "#";

/**
 * An entry's key as Memcached takes it: printable ASCII without spaces, at most 250 of them. Other bytes are percent-encoded, and so
 * are `%` and `#`; what is too long then is cut, and the SHA-256 of the whole key stands behind it. So no two keys become one.
 */
export function memcachedKey(key: string): string {
  const escaped = key.replaceAll(/[^!-~]+|[%#]/g, escapeBytes);
  if (escaped.length <= maxLength) return escaped;
  const digest = digestSign + createHash("sha256").update(escaped).digest("base64url");
  return escaped.slice(0, maxLength - digest.length) + digest;
}

function escapeBytes(text: string): string {
  return Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
}
