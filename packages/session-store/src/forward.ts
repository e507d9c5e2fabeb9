import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

/** What the text of a record that has gone on elsewhere starts with. No session's text does. */
const forwardMark = ">";

const rotatedMark = `${forwardMark}r`;
const movedMark = `${forwardMark}m`;
const endMark = `${forwardMark}x`;

/**
 * Where a session has gone on.
 *
 * - `rotated`: under another id (S7);
 * - `moved`: under the key that the other id scheme gives its id; `record`: its text, until it has arrived there.
 */
export type Forward =
  { readonly kind: "rotated"; readonly id: string } | { readonly kind: "moved"; readonly record: string | undefined };

/**
 * The text that an old record is replaced by when its session gets a new id. Only who knows the old id can read the new
 * one, so that a dump of Redis still holds no usable id (G9).
 */
export function rotatedTo(oldId: string, newId: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", keyOf(oldId), iv);
  const sealed = Buffer.concat([iv, cipher.update(newId, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return rotatedMark + sealed.toString("base64url");
}

/**
 * The text that a record is replaced by when it moves to the other id scheme's key.
 *
 * @param record its text, which goes with it until it has arrived: whoever meets it can end the move
 */
export function movedWith(record: string): string {
  return movedMark + record;
}

/** Whether a record's raw text says that its session has gone on elsewhere. */
export function isForward(raw: string): boolean {
  return raw.startsWith(forwardMark);
}

/**
 * The text that an old record is replaced by when its session gets a new id to which the old one shall not lead. Unlike what a
 * destroyed session leaves it is not like any other, so that a server whose answer was lost knows its own again.
 */
export function leadingNowhere(): string {
  return endMark + randomBytes(9).toString("base64url");
}

/** Whether a raw text leads nowhere: to who finds it the session has gone. */
export function isEnd(raw: string): boolean {
  return raw.startsWith(endMark);
}

/** Whether a raw text holds a session: a record, or one that is moving and has not arrived. */
export function holdsRecord(raw: string): boolean {
  return raw.startsWith(movedMark) ? raw.length > movedMark.length : raw !== "" && !isForward(raw);
}

/** @returns `undefined` for a text that is no forward, or one that `id` can't read */
export function readForward(raw: string, id: string): Forward | undefined {
  if (raw.startsWith(movedMark)) return { kind: "moved", record: raw.slice(movedMark.length) || undefined };
  if (!raw.startsWith(rotatedMark)) return undefined;
  try {
    const sealed = Buffer.from(raw.slice(rotatedMark.length), "base64url");
    const decipher = createDecipheriv("aes-256-gcm", keyOf(id), sealed.subarray(0, 12));
    decipher.setAuthTag(sealed.subarray(-16));
    const newId = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString("utf8");
    return { kind: "rotated", id: newId };
  } catch {
    return undefined;
  }
}

function keyOf(id: string): Buffer {
  return Buffer.from(hkdfSync("sha256", id, "", "lockstep: where a session has gone on", 32));
}
