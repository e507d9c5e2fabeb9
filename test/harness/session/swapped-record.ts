import { createHash } from "node:crypto";
import type { Client } from "../client.ts";
import { sessionAt, signedIn } from "./requests.ts";
import type { SessionRedis } from "./session-redis.ts";

/**
 * Whoever can write to Redis, but has no key of the encryption, puts one user's record in the place of another's.
 *
 * @param prefix of the servers' keys
 * @returns what the other then finds as the session
 */
export async function sessionAfterSwap(
  url: string,
  { client: redis }: SessionRedis,
  prefix: string,
): Promise<Record<string, unknown> | undefined> {
  const [mallory, alice] = [await signedIn(url, { user: "mallory" }), await signedIn(url, { user: "alice" })];
  const record = await redis.getBuffer(keyOf(alice, prefix));
  if (record === null) throw new Error("The record is not where it was expected.");
  await redis.set(keyOf(mallory, prefix), record);
  return sessionAt(url, mallory);
}

function keyOf({ sessionId = "" }: Client, prefix: string): string {
  return `${prefix}h:${createHash("sha256").update(sessionId).digest("base64url")}`;
}
