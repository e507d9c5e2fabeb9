import { hash } from "node:crypto";
import { escapeGlob } from "@lockstep/redis-kit";
import { LRUCache } from "lru-cache";

/** How session ids stand in Redis keys. */
export type IdScheme = "hashed" | "plain";

/** The one place that spells this package's Redis keys. */
export interface Keys {
  /** The key of a session's record, or `undefined` for an id that names none: too long, empty, or with a brace; plain, also one that starts with `h:`. */
  record(id: string): string | undefined;
  /** Where a session's record may be, the place it moves away from first; more than one while sessions move between schemes. */
  places(id: string): string[];
  /** The records to end for a session named by its id or, where ids are hashed, by its handle. */
  recordsNamed(idOrHandle: string): string[];
  /** Whether a record's key is a hashed one, which only Lockstep reads. */
  isHashed(key: string): boolean;
  /** What names a session to people: the SHA-256 of its id, in either scheme. It reads nothing. */
  handleOf(key: string): string;
  /** What a record is listed by: the session's id under a plain key, where ids are plain; else its handle. */
  nameOf(key: string): string;
  /** Whether it is the key of a record, where there may be one. */
  isRecord(key: string): boolean;
  /** A glob pattern that all records match. Others may match it too: ask {@link Keys.isRecord}. */
  readonly recordPattern: string;
  /**
   * What the index calls a user: of the user's own id only a hash is stored, which hides a long one, and not a small number.
   *
   * @throws TypeError for what names nobody
   */
  user(id: string | number): string;
  /** A user's sessions: a sorted set of rows. */
  userIndex(user: string): string;
  /** What a session is called in the index. */
  row(key: string): string;
  /** The key that a row stands for; of a draft's (see admit.lua), `origin`: the key of the record that it is to replace. */
  recordOfRow(row: string): { readonly key: string; readonly origin?: string };
  /** All rows of all users by when their sessions are expected to end: a sorted set. */
  readonly due: string;
  /** The mark of a record's pending writes, in the same Cluster slot: where servers keep near copies. */
  readonly mark: (key: string) => string;
  /** Where servers say that they keep near copies of these sessions. */
  readonly claim: string;
  /** The pub/sub channel of what sessions go through. */
  readonly channel: string;
}

/** Longer ids are nobody's: they come from outside, and each would be hashed and sent to Redis. */
const maxIdLength = 512;

/** Of how many ids the hash is remembered: a session in use is asked for with each request, and hashing is dear. */
const rememberedKeys = 5_000;

/** A brace would choose the Cluster slot (Redis Cluster specification, hash tags), so whoever picks the id picks the node. */
const usable = (id: string) => id !== "" && id.length <= maxIdLength && !/[{}]/.test(id);

/** What a SHA-256 looks like in base64url. */
const handlePattern = /^[\w-]{43}$/;

/** The SHA-256 of an id, base64url. */
export function handleOf(id: string): string {
  return hash("sha256", id, "base64url");
}

/**
 * - `hashed`: `<prefix>h:<base64url SHA-256 of the id>`, so that a dump of Redis holds no usable id (G9);
 * - `plain`: `<prefix><id>`, as connect-redis writes it.
 *
 * Whatever else is stored starts with `<prefix>h:` too, which no plain id can.
 *
 * @param other the scheme of servers at another step of a migration, `from` or `to` which sessions move
 * @param keyPrefix what ioredis puts before each key
 */
export function createKeys(prefix: string, scheme: IdScheme, other?: "from" | "to", keyPrefix = ""): Keys {
  const ownStart = `${prefix}h:`;
  const recent = new LRUCache<string, string>({ max: rememberedKeys, memoMethod: (id) => ownStart + handleOf(id) });
  const hashed = (id: string) => (usable(id) ? recent.memo(id) : undefined);
  const plain = (id: string) => (usable(id) && !id.startsWith("h:") ? prefix + id : undefined);
  const [record, elsewhere] = scheme === "hashed" ? [hashed, plain] : [plain, hashed];
  const present = (keys: (string | undefined)[]) => keys.filter((key) => key !== undefined);
  const places = (id: string) => {
    if (other === undefined) return present([record(id)]);
    return present(other === "from" ? [elsewhere(id), record(id)] : [record(id), elsewhere(id)]);
  };
  const isHashed = (key: string) => key.startsWith(ownStart);
  const handleOfKey = (key: string) =>
    isHashed(key) ? key.slice(ownStart.length) : handleOf(key.slice(prefix.length));
  const looksFor = new Set<IdScheme>(other === undefined ? [scheme] : ["hashed", "plain"]);
  return {
    record,
    places,
    recordsNamed(idOrHandle) {
      const isHandle = (scheme === "hashed" || other !== undefined) && handlePattern.test(idOrHandle);
      return [...places(idOrHandle), ...(isHandle ? [ownStart + idOrHandle] : [])];
    },
    isHashed,
    handleOf: handleOfKey,
    nameOf: (key) => (isHashed(key) || scheme === "hashed" ? handleOfKey(key) : key.slice(prefix.length)),
    isRecord(key) {
      if (isHashed(key)) return looksFor.has("hashed") && handlePattern.test(key.slice(ownStart.length));
      return looksFor.has("plain") && key.startsWith(prefix);
    },
    recordPattern: `${escapeGlob(looksFor.has("plain") ? prefix : ownStart)}*`,
    user(id) {
      const isName = typeof id === "number" ? Number.isFinite(id) : typeof id === "string" && id !== "";
      // Two texts that UTF-8 makes alike would be one user.
      if (!isName || hasLoneSurrogate(String(id))) {
        throw new TypeError("Lockstep sessions: a user's id must be a number or a text that is not empty.");
      }
      return handleOf(String(id));
    },
    userIndex: (user) => `${ownStart}user:${user}`,
    row: (key) => key.slice(prefix.length),
    recordOfRow(row) {
      // No id has a brace.
      const [, draft, origin] = /^([^{]*)\{(.*)\}$/.exec(row) ?? [];
      return draft === undefined ? { key: prefix + row } : { key: prefix + draft, origin: `${prefix}${origin}` };
    },
    due: `${ownStart}due`,
    // What ioredis puts before it stands before the braces, and before the record's key.
    mark: (key) => `{${keyPrefix}${key}}:pending`,
    claim: `${ownStart}near`,
    channel: `${ownStart}events`,
  };
}

function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}
