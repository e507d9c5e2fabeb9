import { createHash } from "node:crypto";
import { escapeGlob } from "@lockstep/redis-kit";

/** How session ids stand in Redis keys. */
export type IdScheme = "hashed" | "plain";

/** The one place that spells this package's Redis keys. */
export interface Keys {
  /** The key of a session's record, or `undefined` for an id that names none: too long, empty, or with a brace; plain, also one that starts with `h:`. */
  record(id: string): string | undefined;
  /** The keys to delete for a session named by its id or, where ids are hashed, by its handle. */
  recordsNamed(idOrHandle: string): string[];
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
  const hashedStart = `${prefix}h:`;
  const start = scheme === "hashed" ? hashedStart : prefix;
  const record = (id: string) => {
    if (!usable(id)) return undefined;
    if (scheme === "hashed") return start + createHash("sha256").update(id).digest("base64url");
    // Both schemes may share a prefix: a plain id must not name the hashed record of another.
    return id.startsWith("h:") ? undefined : start + id;
  };
  return {
    record,
    recordsNamed(idOrHandle) {
      const key = record(idOrHandle);
      const isHandle = scheme === "hashed" && /^[\w-]{43}$/.test(idOrHandle);
      return [...(key === undefined ? [] : [key]), ...(isHandle ? [start + idOrHandle] : [])];
    },
    recordPattern: `${escapeGlob(start)}*`,
    nameOf(key) {
      if (!key.startsWith(start)) return undefined;
      if (scheme === "plain" && key.startsWith(hashedStart)) return undefined;
      return key.slice(start.length);
    },
  };
}
