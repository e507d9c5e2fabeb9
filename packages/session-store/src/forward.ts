import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

/** What the text of a record that has gone on elsewhere starts with. No session's text does. */
const forwardMark = ">";

const rotatedMark = `${forwardMark}r`;
const movedMark = `${forwardMark}m`;
const endMark = `${forwardMark}x`;

/** The id that a session goes on under, and whose it was when it got it, as the index calls users. */
export interface Successor {
  readonly id: string;
  readonly user: string | null | undefined;
}

/**
 * Where a session has gone on.
 *
 * - `rotated`: under another id (S7);
 * - `ended`: the same, and the old id shall not lead there: only who ends the session by it goes that way;
 * - `moved`: under the key that the other id scheme gives its id; `record`: its text, until it has arrived there.
 */
export type Forward =
  | ({ readonly kind: "rotated" | "ended" } & Successor)
  | { readonly kind: "moved"; readonly record: string | undefined };

/**
 * The text that an old record is replaced by when its session gets a new id. Only who knows the old id can read the new
 * one, so that a dump of Redis still holds no usable id (G9).
 */
export function rotatedTo(oldId: string, successor: Successor): string {
  return rotatedMark + seal(oldId, successor);
}

/** As {@link rotatedTo}, where the old id shall not lead to the new: to who finds it the session has gone. */
export function endedAs(oldId: string, successor: Successor): string {
  return endMark + seal(oldId, successor);
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
 * The text of a new record that is taken back. Unlike what a destroyed session leaves it is not like any other, so that a
 * server whose answer was lost knows its own again.
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
  const kind = raw.startsWith(rotatedMark) ? "rotated" : "ended";
  if (kind === "ended" && !isEnd(raw)) return undefined;
  const successor = unseal(id, raw.slice(rotatedMark.length));
  return successor && { kind, ...successor };
}

function seal(oldId: string, { id, user }: Successor): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", keyOf(oldId), iv);
  const text = JSON.stringify({ id, user });
  return Buffer.concat([iv, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64url");
}

function unseal(oldId: string, text: string): Successor | undefined {
  const sealed = Buffer.from(text, "base64url");
  try {
    const decipher = createDecipheriv("aes-256-gcm", keyOf(oldId), sealed.subarray(0, 12), { authTagLength: 16 });
    decipher.setAuthTag(sealed.subarray(-16));
    const opened = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    const { id, user } = JSON.parse(opened.toString("utf8")) as Successor;
    return { id, user };
  } catch {
    return undefined;
  }
}

function keyOf(id: string): Buffer {
  return Buffer.from(hkdfSync("sha256", id, "", "lockstep: where a session has gone on", 32));
}
