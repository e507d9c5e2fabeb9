import { createHash } from "node:crypto";

/** How session ids stand in Redis keys. */
export type IdScheme = "hashed" | "plain";

/** The one place that spells this package's Redis keys. */
export interface Keys {
  /** The key of a session's record, or `undefined` for an id that names none: too long, empty, or with a brace. */
  record(id: string): string | undefined;
  /** A glob pattern that all records match. Others may match it too: ask {@link Keys.nameOf}. */
  readonly recordPattern: string;
  /** What a record's key says of its session: its id with plain ids, its handle with hashed ones. */
  nameOf(key: string): string | undefined;
}

/** Longer ids are nobody's: they come from outside, and each would be hashed and sent to Redis. */
const maxIdLength = 512;

/** A brace would choose the Cluster slot (Redis Cluster specification, hash tags), so whoever picks the id picks the node. */
const usable = (id: string) => id !== "" && id.length <= maxIdLength && !/[{}]/.test(id);

/**
 * - `hashed`: `<prefix>h:<base64url SHA-256 of the id>`, so that a dump of Redis holds no usable id (G9);
 * - `plain`: `<prefix><id>`, as connect-redis writes it.
 */
export function createKeys(prefix: string, scheme: IdScheme): Keys {
  const start = scheme === "hashed" ? `${prefix}h:` : prefix;
  // A handle is base64url, so a plain id is never mistaken for the hashed record of another.
  const hashedStart = `${prefix}h:`;
  return {
    record(id) {
      if (!usable(id)) return undefined;
      return start + (scheme === "hashed" ? createHash("sha256").update(id).digest("base64url") : id);
    },
    recordPattern: `${start.replaceAll(/[\\*?[\]^]/g, "\\$&")}*`,
    nameOf(key) {
      if (!key.startsWith(start)) return undefined;
      if (scheme === "plain" && key.startsWith(hashedStart)) return undefined;
      return key.slice(start.length);
    },
  };
}
