import { type CipherGCM, createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { CorruptRecord, sealedMark } from "./codec.ts";

/** Encryption of records at rest, as {@link SessionsOptions.encryption} takes it. */
export interface EncryptionOptions {
  /** Keys of 32 bytes each, as bytes or in base64. The first encrypts, all decrypt, so that a key can be replaced. */
  readonly keys: readonly (string | Uint8Array)[];
  /**
   * For turning it on while servers run. `"read"`: records are written as they were, and encrypted ones can be read;
   * `"write"`: they are encrypted, and those that are not yet can be read. Default: a record that is not encrypted is corrupt.
   */
  readonly rollout?: "read" | "write" | undefined;
}

/** Turns a record's text into what is stored, and back. */
export interface Keyring {
  /** @param key the record's Redis key: a text that is copied under another one can't be read there */
  seal(text: string, key: string): string;
  /** @throws {@link CorruptRecord} for a key that nobody knows, a text that was changed, or one that should be encrypted */
  open(raw: string, key: string): string;
  /** Whether it is stored as it would be stored now: by the first key, or as it is if nothing is encrypted. */
  isCurrent(raw: string): boolean;
}

const ivBytes = 12;
const tagBytes = 16;

/** Nothing is encrypted. */
const withoutKeys: Keyring = {
  seal: (text) => text,
  open(raw) {
    if (raw.startsWith(sealedMark)) throw new CorruptRecord("encrypted, and no key was given");
    return raw;
  },
  isCurrent: () => true,
};

/**
 * AES-256-GCM with a random IV: `E1.<key id>.<base64url of IV, ciphertext and tag>`. NIST SP 800-38D bounds a key with
 * random IVs to 2^32 encryptions: replace it before.
 *
 * @throws TypeError for keys that are none
 */
export function createKeyring(options: EncryptionOptions | undefined): Keyring {
  if (options === undefined) return withoutKeys;
  const keys = options.keys.map(asKey);
  const [first] = keys;
  if (!first) throw new TypeError("Lockstep sessions: encryption needs a key.");
  const byName = new Map(keys.map((key) => [nameOf(key), key]));
  const start = `${sealedMark}${nameOf(first)}.`;
  const { rollout } = options;

  return {
    seal(text, key) {
      if (rollout === "read") return text;
      const iv = randomBytes(ivBytes);
      const cipher: CipherGCM = createCipheriv("aes-256-gcm", first, iv).setAAD(Buffer.from(key));
      const sealed = Buffer.concat([iv, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return start + sealed.toString("base64url");
    },
    open(raw, key) {
      if (!raw.startsWith(sealedMark)) {
        if (rollout === undefined) throw new CorruptRecord("not encrypted");
        return raw;
      }
      const [, name = "", body = ""] = raw.split(".");
      const known = byName.get(name);
      if (!known) throw new CorruptRecord("encrypted with an unknown key");
      return unseal(known, Buffer.from(body, "base64url"), key);
    },
    // While it is being turned on, servers of both steps run: they must not write each other's records again and again.
    isCurrent: (raw) => rollout === "read" || raw.startsWith(start),
  };
}

function unseal(known: Buffer, sealed: Buffer, key: string): string {
  try {
    const decipher = createDecipheriv("aes-256-gcm", known, sealed.subarray(0, ivBytes), { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(key)).setAuthTag(sealed.subarray(-tagBytes));
    const text = Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()]);
    return text.toString("utf8");
  } catch (cause) {
    throw new CorruptRecord("changed since it was encrypted", { cause });
  }
}

/** Tells keys apart without telling anything of them. */
function nameOf(key: Buffer): string {
  return createHash("sha256").update("lockstep: the name of a key").update(key).digest("base64url").slice(0, 8);
}

function asKey(key: string | Uint8Array | undefined): Buffer {
  const bytes = typeof key === "string" ? Buffer.from(key, "base64") : Buffer.from(key ?? []);
  if (bytes.length !== 32) {
    throw new TypeError("Lockstep sessions: encryption.keys must have 32 bytes each, as bytes or in base64.");
  }
  return bytes;
}
